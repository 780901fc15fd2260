"""From the size of a view in pixels to the encoder's input and the token grid.

Pure functions that edge and cloud run alike, so the packet need not carry their result. A view's
grid is (t, h, w): t tiles, in the order in which the encoder gets them, of h x w tokens each. A
token's id is its place in that order, t * h * w + row * w + column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from saccade.types import Grid

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tile:
    """One input of the encoder, cut from the resized view.

    ``row`` and ``column`` count from 0 among ``rows`` x ``columns`` tiles; an *overview* tile is
    the whole view on one tile, and has 1 x 1.
    """

    row: int
    column: int
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class ViewLayout:
    """``pixels``: (height, width) of each tile; ``resized``: (height, width) of the picture that
    the non-overview tiles are cut from; ``content``: (top, left, height, width) of what is picture
    there, without padding; ``tiles``: in the encoder's order; ``grid``: (len(tiles), h, w).
    """

    pixels: Size
    resized: Size
    content: tuple[int, int, int, int]
    tiles: tuple[Tile, ...]
    grid: Grid


class Geometry(Protocol):
    """``layout`` raises ``LimitExceeded`` for a picture that it has no layout for."""

    @property
    def most_tokens(self) -> int:
        """The most tokens that a view can have."""
        ...

    def layout(self, size: Size, images: int = 1) -> ViewLayout:
        """Of a view of ``size`` (height, width) pixels, one of ``images`` in its prompt."""
        ...
