"""The contract of a selection method, and the way from ranked places to a token set."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from saccade.nouns import TokenGrid, TokenSet


class Selector(Protocol):
    """Keeps ``budget`` of a grid's T tokens.

    Before: 1 <= budget <= T (`saccade.selection.select` has checked it).
    After: exactly ``budget`` tokens; ids ascend; ``order`` names them most important first.
    A pure function: the same grid, budget and seed give the same bits, whatever the thread count.
    A greedy method is prefix-nested: a larger budget only appends to ``order``. Scores are
    float32, and of equal scores the lowest id wins.
    Raises SelectionError where the grid can't be ranked (scores that are not finite).
    """

    def __call__(self, grid: TokenGrid, budget: int, *, seed: int) -> TokenSet: ...


def keep(grid: TokenGrid, ranked: npt.NDArray[np.integer]) -> TokenSet:
    """The tokens at ``ranked``: [K] distinct places, most important first."""
    raster = np.argsort(ranked, kind="stable")
    ids = ranked[raster].astype(np.int32)
    order = np.argsort(raster, kind="stable").astype(np.int32)  # where each rank went
    return TokenSet(features=grid.features[ids], ids=ids, grid=grid.grid, order=order)
