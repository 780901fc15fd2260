"""From the size of a view in pixels to the encoder's input and the token grid.

Pure functions that edge and cloud run alike, so the packet need not carry their result. A view's
grid is (t, h, w): t tiles, in the order in which the encoder gets them, of h x w tokens each. A
token's id is its place in that order, t * h * w + row * w + column.

In a manifest a geometry is an object whose ``kind`` names one of the three grids below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np

from saccade.errors import LimitExceeded
from saccade.spec import tilings
from saccade.types import I32, Box, Grid

Size = tuple[int, int]
RULES = ("best-resolution", "closest-ratio", "longest-edge")
OVERVIEWS = ("first", "last", "none")
MAX_ASPECT = 200  # of a view that a dynamic grid takes, as Qwen-VL's processor says


@dataclass(frozen=True, slots=True)
class Tile:
    """One input of the encoder, cut from the resized view.

    ``row`` and ``column`` count from 0 among ``rows`` x ``columns`` tiles; an ``overview`` tile is
    the whole view on one tile, and has 1 x 1.
    """

    row: int
    column: int
    rows: int
    columns: int
    overview: bool = False


OVERVIEW = Tile(0, 0, 1, 1, overview=True)


@dataclass(frozen=True, slots=True)
class ViewLayout:
    """How a view becomes tiles, and these a token grid.

    ``pixels``: (height, width) of each tile. ``steps``: sizes that the view is resized to, one
    after another, for the tiles that are no overview; ``resized``: (height, width) of the canvas
    they are cut from; ``content``: (top, left, height, width) of the picture on it, the rest is
    padding. ``overview_after``: how many of the steps come before the overview is made.
    ``tiles``: in the encoder's order; ``grid``: (len(tiles), h, w). ``shown``: (top, left, height,
    width) of the canvas's tokens that are not padding.
    """

    pixels: Size
    resized: Size
    content: tuple[int, int, int, int]
    tiles: tuple[Tile, ...]
    grid: Grid
    shown: tuple[int, int, int, int]
    steps: tuple[Size, ...] = ()
    overview_after: int = 0

    @property
    def padded(self) -> bool:
        """Whether some tokens are padding."""
        return len(self.visible()) < math.prod(self.grid)

    def visible(self) -> I32:
        """Ids of the tokens that are not padding, ascending: [n] int32."""
        _, high, wide = self.grid
        top, left, height, width = self.shown
        masks = np.ones(self.grid, bool)
        rows, columns = np.arange(high)[:, None], np.arange(wide)
        for mask, tile in zip(masks, self.tiles, strict=True):
            if not tile.overview:
                y, x = rows + tile.row * high, columns + tile.column * wide
                mask[:] = (y >= top) & (y < top + height) & (x >= left) & (x < left + width)
        return np.flatnonzero(masks).astype(np.int32)


class Geometry(Protocol):
    """``layout`` raises ``LimitExceeded`` for a picture that it has no layout for."""

    @property
    def most_tokens(self) -> int:
        """The most tokens that a view can have."""
        ...

    @property
    def inputs(self) -> tuple[Size, ...]:
        """Sizes of the encoder's inputs, (height, width) pixels: one graph for each."""
        ...

    def layout(self, size: Size, images: int = 1) -> ViewLayout:
        """Of a view of ``size`` (height, width) pixels, one of ``images`` in its prompt."""
        ...

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        ...


@dataclass(frozen=True, slots=True)
class FixedGrid:
    """Every view on one tile of ``size`` pixels, ``grid`` (rows, columns) tokens."""

    kind: ClassVar[str] = "fixed"
    size: Size
    grid: Size

    @property
    def most_tokens(self) -> int:
        return math.prod(self.grid)

    @property
    def inputs(self) -> tuple[Size, ...]:
        return (self.size,)

    def layout(self, size: Size, images: int = 1) -> ViewLayout:
        _check_size(size)
        return _single(self.size, self.grid)

    def problems(self) -> list[str]:
        return _side_problems(size=self.size, grid=self.grid)


@dataclass(frozen=True, slots=True)
class TiledGrid:
    """A view as several tiles of ``size`` pixels and ``grid`` (rows, columns) tokens.

    ``rule``: "best-resolution" (the picture keeps its aspect inside the canvas, the rest is
    padding), "closest-ratio" (stretched to the canvas) or "longest-edge" (its longer side becomes
    ``longest_edge`` pixels, then it is stretched to whole tiles). ``tilings``: (rows, columns) to
    choose from, in the order that settles ties; empty for "longest-edge". ``overview``: "first",
    "last" or "none": where the tile of the whole view stands among the others. ``alone``: there
    are several tiles only where the prompt has one image.
    """

    kind: ClassVar[str] = "tiled"
    size: Size
    grid: Size
    rule: str
    tilings: tuple[tuple[int, int], ...] = ()
    overview: str = "first"
    alone: bool = False
    longest_edge: int = 0

    @property
    def most_tokens(self) -> int:
        return math.prod(self.grid) * (self._most_tiles + (self.overview != "none"))

    @property
    def inputs(self) -> tuple[Size, ...]:
        return (self.size,)

    def layout(self, size: Size, images: int = 1) -> ViewLayout:
        _check_size(size)
        if self.alone and images > 1:
            return _single(self.size, self.grid)
        if self.rule == "best-resolution":
            return self._best_resolution(size)
        if self.rule == "closest-ratio":
            rows, columns = tilings.closest_ratio(size, self.size, self.tilings)
            steps: tuple[Size, ...] = ((rows * self.size[0], columns * self.size[1]),)
        else:
            first = tilings.longest_edge(size, self.longest_edge)
            steps = (first, tilings.whole_tiles(first, self.size[0]))
            rows, columns = steps[1][0] // self.size[0], steps[1][1] // self.size[1]
        after = len(steps) if self.rule == "longest-edge" else 0
        if rows * columns == 1:
            return _single(self.size, self.grid, steps[:-1] if after else ())
        canvas = steps[-1]
        return ViewLayout(
            pixels=self.size,
            resized=canvas,
            content=(0, 0, *canvas),
            tiles=self._tiles(rows, columns),
            grid=self._grid(rows, columns),
            shown=(0, 0, rows * self.grid[0], columns * self.grid[1]),
            steps=steps,
            overview_after=after,
        )

    def problems(self) -> list[str]:
        problems = _side_problems(size=self.size, grid=self.grid)
        if self.rule not in RULES:
            problems.append(f"rule {self.rule[:40]!r} is unknown, known are: {', '.join(RULES)}")
        if self.overview not in OVERVIEWS:
            problems.append(f"overview is {self.overview[:40]!r}, one of: {', '.join(OVERVIEWS)}")
        if self.rule == "longest-edge":
            problems += _side_problems(longest_edge=(self.longest_edge, 1))
            if self.size[0] != self.size[1]:
                problems.append(f"size is {list(self.size)}, tiles of longest-edge are square")
        elif not self.tilings:
            problems.append("tilings is empty")
        for tiling in self.tilings:
            problems += _side_problems(tilings=tiling)
        if not problems and self._most_tiles > MAX_TILES:
            problems.append(f"a view has up to {self._most_tiles} tiles, {MAX_TILES} are possible")
        return problems

    @property
    def _most_tiles(self) -> int:
        if self.rule == "longest-edge":
            return (-(-min(self.longest_edge, tilings.MOST_EDGE) // self.size[0])) ** 2
        return max(rows * columns for rows, columns in self.tilings)

    def _best_resolution(self, size: Size) -> ViewLayout:
        rows, columns = tilings.best_resolution(size, self.size, self.tilings)
        canvas = (rows * self.size[0], columns * self.size[1])
        high, wide = tilings.fitted(size, canvas)
        tokens = (rows * self.grid[0], columns * self.grid[1])
        return ViewLayout(
            pixels=self.size,
            resized=canvas,
            content=((canvas[0] - high) // 2, (canvas[1] - wide) // 2, high, wide),
            tiles=self._tiles(rows, columns),
            grid=self._grid(rows, columns),
            shown=tilings.unpadded(size, tokens),
            steps=((high, wide),),
        )

    def _tiles(self, rows: int, columns: int) -> tuple[Tile, ...]:
        tiles = tuple(
            Tile(row, column, rows, columns) for row in range(rows) for column in range(columns)
        )
        if self.overview == "none":
            return tiles
        return (OVERVIEW, *tiles) if self.overview == "first" else (*tiles, OVERVIEW)

    def _grid(self, rows: int, columns: int) -> Grid:
        return (rows * columns + (self.overview != "none"), *self.grid)


@dataclass(frozen=True, slots=True)
class DynamicGrid:
    """A view at one of ``sizes`` pixels, a token for each ``unit`` x ``unit`` of them: the size
    nearest to what Qwen-VL's rule gives between ``min_pixels`` and ``max_pixels``.
    """

    kind: ClassVar[str] = "dynamic"
    sizes: tuple[tuple[int, int], ...]
    unit: int
    min_pixels: int
    max_pixels: int

    @property
    def most_tokens(self) -> int:
        return max(height * width for height, width in self.sizes) // self.unit**2

    @property
    def inputs(self) -> tuple[Size, ...]:
        return self.sizes

    def layout(self, size: Size, images: int = 1) -> ViewLayout:
        _check_size(size)
        if max(size) > MAX_ASPECT * min(size):
            raise LimitExceeded(
                f"a view of {size[0]} x {size[1]} pixels: one side is at most {MAX_ASPECT} times "
                "the other"
            )
        wanted = tilings.smart_resize(size, self.unit, self.min_pixels, self.max_pixels)
        height, width = tilings.nearest(wanted, self.sizes)
        return _single((height, width), (height // self.unit, width // self.unit))

    def problems(self) -> list[str]:
        problems = [] if self.sizes else ["sizes is empty"]
        problems += _side_problems(unit=(self.unit, 1))
        for size in self.sizes:
            problems += _side_problems(sizes=size)
            if self.unit > 0 and (size[0] % self.unit or size[1] % self.unit):
                problems.append(f"size {list(size)} is not whole units of {self.unit}")
        if not 1 <= self.min_pixels <= self.max_pixels:
            problems.append(f"min_pixels..max_pixels is {self.min_pixels}..{self.max_pixels}")
        return problems


AnyGrid = FixedGrid | TiledGrid | DynamicGrid


@lru_cache(maxsize=4096)  # a camera's frames are of one size
def view_layout(geometry: AnyGrid, size: Size, images: int) -> ViewLayout:
    """``geometry.layout(size, images)``, remembered."""
    return geometry.layout(size, images)


def window_px(frame: Size, window: Box) -> tuple[int, int, int, int]:
    """(top, left, height, width) in pixels of a frame's part; ``window`` as it is on the wire.

    At least one pixel; edge and cloud settle a view's layout from its height and width.
    """
    (high, wide), (x0, y0, x1, y1) = frame, window
    top, left = min(_pixel(y0, high), high - 1), min(_pixel(x0, wide), wide - 1)
    bottom, right = max(_pixel(y1, high), top + 1), max(_pixel(x1, wide), left + 1)
    return top, left, bottom - top, right - left


def _pixel(share: float, side: int) -> int:
    return min(max(math.floor(share * side + 0.5), 0), side)


def _single(pixels: Size, grid: Size, steps: tuple[Size, ...] = ()) -> ViewLayout:
    """One tile, which shows the whole view."""
    return ViewLayout(
        pixels=pixels,
        resized=pixels,
        content=(0, 0, *pixels),
        tiles=(OVERVIEW,),
        grid=(1, *grid),
        shown=(0, 0, *grid),
        steps=(*steps, pixels),
        overview_after=len(steps),
    )


def _check_size(size: Size) -> None:
    if min(size) < 1:
        raise LimitExceeded(f"a view of {size[0]} x {size[1]} pixels")


MAX_TILES = 256  # of a view; families have up to 64
MAX_SIDE = 1 << 14  # pixels or tokens


def _side_problems(**pairs: tuple[int, int]) -> list[str]:
    return [
        f"{name} is {list(pair)}, 1..{MAX_SIDE} are possible"
        for name, pair in pairs.items()
        if not all(1 <= side <= MAX_SIDE for side in pair)
    ]
