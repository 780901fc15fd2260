"""The contract of a selection method, and the way from ranked places to a token set.

Which tokens are kept must not depend on the machine, so sums are exact where they decide: cosines
and distances are integers in float64, below 2^53 (`exact.py`), and the same in whatever order a
BLAS, a vector unit or several threads add them. Where exp, log or a solver takes part (flashvlm,
dpc_knn, cdpruner, apet, quotas), float64 is rounded to float32 before anything is compared; what
merging adds up in float64 is rounded to float32, too.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from saccade.types import F32, TokenGrid, TokenSet

Ids = npt.NDArray[np.integer]


class Selector(Protocol):
    """Keeps ``budget`` of a grid's T tokens.

    Before: 1 <= budget <= T, features are finite, ``text`` is None or finite float32 [M, D], and
    is there for a method that needs it (`saccade.selection.select` has checked it).
    After: exactly ``budget`` tokens; ids ascend; ``order`` names them most important first.
    A method that merges fills ``owners``: kept tokens own themselves, others name the kept token
    that took them in, or -1 where they were dropped.
    A pure function: the same grid, budget and seed give the same bits, whatever the thread count.
    A greedy method is prefix-nested: a larger budget only appends to ``order``. Scores are
    float32, and of equal scores the lowest id wins.
    Raises SelectionError where the grid can't be ranked (scores that are not finite).
    """

    def __call__(
        self, grid: TokenGrid, budget: int, *, seed: int, text: F32 | None
    ) -> TokenSet: ...


def ranking(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """All places by falling score: stable on the negated scores, so the lowest id comes first."""
    return np.argsort(-scores, kind="stable")


def keep(grid: TokenGrid, ranked: Ids) -> TokenSet:
    """The tokens at ``ranked``: [K] distinct places, most important first."""
    raster = np.argsort(ranked, kind="stable")
    ids = ranked[raster].astype(np.int32)
    order = np.argsort(raster, kind="stable").astype(np.int32)  # where each rank went
    return TokenSet(features=grid.features[ids], ids=ids, grid=grid.grid, order=order)
