"""Two-dimensional average pooling: the baseline of every method that merges."""

from __future__ import annotations

import numpy as np

from saccade.selection.merging import merged
from saccade.selection.uniform import dither
from saccade.types import F32, I32, TokenGrid, TokenSet


def pool2d(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The mean of each of ``budget`` cells; the cell's middle token has its place.

    After LLaVolta (Chen et al., "Efficient Large Multi-modal Models via Visual Context
    Compression", 2024), which pools the flattened raster and so mixes the ends of rows; and for
    budgets that are no whole share of the grid: frames are cut into bands of rows, bands into
    cells, each as evenly as whole tokens allow. In the order of `uniform`, as the picture has no
    say; not nested.
    """
    owners = _cells(grid.grid, budget)
    ids = np.unique(owners)
    frame, place = np.divmod(ids, grid.grid[1] * grid.grid[2])
    y, x = np.divmod(place, grid.grid[2])
    spread = dither(y.astype(np.int64), x.astype(np.int64), max(grid.grid[1:]))
    return merged(grid, ids[np.lexsort((frame, spread))], owners)


def _cells(shape: tuple[int, int, int], budget: int) -> I32:
    """[T]: the middle token of each token's cell."""
    frames, rows, columns = shape
    owners = np.empty(shape, np.int32)
    places = np.arange(owners.size, dtype=np.int32).reshape(shape)
    spans = min(frames, budget)
    for t, share in enumerate(_split(budget, spans)):
        span = _slice(frames, spans, t)
        # As many bands as give square cells, and no band more cells than columns.
        square = round((share * rows / columns) ** 0.5)
        bands = min(max(square, -(-share // columns)), rows, share)
        for y, cells in enumerate(_split(share, bands)):
            for x in range(cells):
                cell = (span, _slice(rows, bands, y), _slice(columns, cells, x))
                owners[cell] = _middle(places[cell])
    return owners.ravel()


def _split(whole: int, parts: int) -> list[int]:
    return [whole * (i + 1) // parts - whole * i // parts for i in range(parts)]


def _slice(whole: int, parts: int, part: int) -> slice:
    return slice(whole * part // parts, whole * (part + 1) // parts)


def _middle(cell: I32) -> int:
    t, y, x = ((side - 1) // 2 for side in cell.shape)
    return int(cell[t, y, x])
