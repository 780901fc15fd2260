"""A frame's visual tokens in the language model's space, and their order in a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.spec import ImageSpec, ViewLayout
from saccade.types import F32, I32, Box, Grid, ViewKind

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class VisualImage:
    """The kept tokens of one view.

    ``ids``: [K] int32, ascending places in ``layout.grid``. ``embeds``: [K, D] float32.
    ``deepstack``: [L, K, D] float32, None where the bundle has none. ``owners``: see
    `saccade.types.TokenSet`. ``window``: of the frame, 0..1.
    """

    layout: ViewLayout
    ids: I32
    embeds: F32
    kind: ViewKind
    window: Box
    deepstack: F32 | None = None
    owners: I32 | None = None
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class VisualFrame:
    """A frame's images, the overview first, then the crops, then the close-ups."""

    images: tuple[VisualImage, ...]

    def __len__(self) -> int:
        """Kept tokens."""
        return sum(len(image.ids) for image in self.images)

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        arrays = [
            array
            for image in self.images
            for array in (image.ids, image.embeds, image.deepstack, image.owners)
            if array is not None
        ]
        return sum(array.nbytes for array in arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Visual tokens of one image that stand together, nothing between them.

    ``kept``: [K] ascending places in ``grid``, what the stretch has when nothing is pruned;
    ``embeds``, ``deepstack`` and ``owners`` (in these places) as in `VisualImage`.
    """

    grid: Grid
    kept: I64
    embeds: F32
    deepstack: F32 | None = None
    owners: I32 | None = None

    def __len__(self) -> int:
        return len(self.kept)


def arrange(image: VisualImage, spec: ImageSpec, vectors: Mapping[str, F32]) -> list[str | Stretch]:
    """What stands for an image in a prompt: texts and stretches of its tokens, in their order.

    ``vectors``: the learned vectors that ``spec`` names, [D] float32. Texts of tiles stay where
    all tokens of a tile are pruned; a separator stays where its row keeps a token.
    """
    inner = _mosaic(image, spec, vectors) if spec.separator else _tiles(image, spec)
    pieces = [spec.before, *inner, spec.after]
    return [piece for piece in pieces if isinstance(piece, Stretch) or piece]


def _tiles(image: VisualImage, spec: ImageSpec) -> list[str | Stretch]:
    """Tile after tile, each between its texts."""
    tiles = image.layout.tiles
    single = len(tiles) == 1 and tiles[0].overview
    pieces: list[str | Stretch] = []
    for number, tile in enumerate(tiles):
        if tile.overview:
            alone = spec.alone if single and spec.alone is not None else spec.overview
            pieces += [alone, _tile(image, number), spec.overview_after]
            continue
        text = spec.tile.replace("{row}", str(tile.row + 1))
        text = text.replace("{column}", str(tile.column + 1))
        pieces += [text, _tile(image, number)]
        if tile.column == tile.columns - 1:
            pieces.append(spec.row_end)
    return pieces


def _tile(image: VisualImage, number: int) -> Stretch:
    """The kept tokens of one tile."""
    _, height, width = image.layout.grid
    first = number * height * width
    low, high = np.searchsorted(image.ids, [first, first + height * width])
    owners = image.owners
    if owners is not None:
        # A token can be merged into one of another tile, which is no place of this one.
        mine = owners[first : first + height * width] - first
        owners = np.where((mine >= 0) & (mine < height * width), mine, -1).astype(np.int32)
    return Stretch(
        grid=(1, height, width),
        kept=image.ids[low:high].astype(np.int64) - first,
        embeds=image.embeds[low:high],
        deepstack=None if image.deepstack is None else image.deepstack[:, low:high],
        owners=owners,
    )


def _mosaic(image: VisualImage, spec: ImageSpec, vectors: Mapping[str, F32]) -> list[str | Stretch]:
    """The overview's tokens, then the mosaic row by row, a separator after each row."""
    vector = vectors[spec.separator]
    tiles = image.layout.tiles
    pieces: list[str | Stretch] = [
        _tile(image, number) for number, tile in enumerate(tiles) if tile.overview
    ]
    if len(tiles) == 1:
        whole = pieces[0]
        assert isinstance(whole, Stretch)
        return [_ended(whole, vector)] if spec.separator_alone else pieces
    rows = _rows(image, vector)
    return [*pieces, rows] if tiles[0].overview else [rows, *pieces]


def _ended(tile: Stretch, vector: F32) -> Stretch:
    """A single tile with a separator behind it, if anything is kept."""
    if not len(tile):
        return tile
    _, height, width = tile.grid
    places = height * width
    return Stretch(
        grid=(1, 1, places + 1),
        kept=np.append(tile.kept, places),
        embeds=np.concatenate([tile.embeds, vector[None]]),
        owners=None if tile.owners is None else np.append(tile.owners, np.int32(places)),
    )


def _rows(image: VisualImage, vector: F32) -> Stretch:
    """The mosaic of tiles without its padding, and a separator at the end of each row."""
    _, high, wide = image.layout.grid
    top, left, height, width = image.layout.shown
    number, within = np.divmod(image.ids.astype(np.int64), high * wide)
    places = np.array([(tile.row, tile.column) for tile in image.layout.tiles], np.int64)
    in_mosaic = np.array([not tile.overview for tile in image.layout.tiles])[number]
    row = places[number, 0] * high + within // wide - top
    column = places[number, 1] * wide + within % wide - left
    in_mosaic &= (row >= 0) & (row < height) & (column >= 0) & (column < width)
    chosen = np.flatnonzero(in_mosaic)
    kept = row[chosen] * (width + 1) + column[chosen]
    ends = np.unique(row[chosen]) * (width + 1) + width
    embeds = np.concatenate([image.embeds[chosen], np.tile(vector, (len(ends), 1))])
    kept = np.concatenate([kept, ends])
    order = np.argsort(kept, kind="stable")
    return Stretch((1, height, width + 1), kept[order], embeds[order])
