"""A seeded draw: what a selection method is worth is measured against this."""

from __future__ import annotations

import numpy as np

from saccade.nouns import TokenGrid, TokenSet
from saccade.selection.base import keep


def random(grid: TokenGrid, budget: int, *, seed: int) -> TokenSet:
    """``budget`` places without replacement; prefix-nested for one seed."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return keep(grid, generator.permutation(len(grid.features))[:budget])
