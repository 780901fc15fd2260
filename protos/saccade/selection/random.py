"""A seeded draw: what a selection method is worth is measured against this."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import keep
from saccade.types import F32, TokenGrid, TokenSet


def random(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """``budget`` places without replacement; prefix-nested for one seed."""
    # Raw bits: NumPy keeps a bit generator's stream, not what a Generator makes of it.
    lots = np.random.PCG64(seed).random_raw(len(grid.features))
    return keep(grid, np.argsort(lots, kind="stable")[:budget])
