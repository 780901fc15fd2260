"""The most different tokens, whatever they show."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import keep
from saccade.selection.exact import cosines
from saccade.types import F32, TokenGrid, TokenSet


def divprune(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Greedy max-min distance: first the token whose nearest neighbour is farthest, then always
    the one farthest from all that are kept; prefix-nested. Needs features.

    DivPrune (Alvar et al., "DivPrune: Diversity-based Visual Token Pruning for Large Multimodal
    Models", 2025), from its formulas. Distances are defined after the projector; here they are the
    encoder's. Kept tokens are masked: the published code may choose a duplicate's place again.
    """
    nearness = cosines(grid.features)
    np.fill_diagonal(nearness, -np.inf)
    ranked = np.empty(budget, np.int32)
    closest = nearness.max(axis=1)
    for step in range(budget):
        pick = int(closest.argmin())
        closest = nearness[pick].copy() if step == 0 else np.maximum(closest, nearness[pick])
        ranked[step] = pick
        closest[ranked[: step + 1]] = np.inf
    return keep(grid, ranked)
