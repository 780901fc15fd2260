"""Important tokens one by one, each lowering the scores of those that are like it."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import ensemble, spanned
from saccade.selection.base import keep
from saccade.selection.exact import cosines
from saccade.types import F32, TokenGrid, TokenSet

GAMMA = 20.0  # how fast suppression falls with distance, as published


def id_selection(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Always the token with the highest score, which starts as its attention from 0 to 1. From
    every other score the kept token's is taken, times exp(-20 d^2) for the distance d of 1 less
    their cosine; none falls below 0. Prefix-nested. Needs saliency and features.

    ID-Selection (Huang et al., "ID-Selection: Importance-Diversity Based Visual Token Selection for
    Efficient LVLM Inference", 2026), with visual saliency as its importance; the paper also has
    attention from the text. The floor of 0 is that of implementations by others: the authors' code
    is not public.
    """
    scores = spanned(ensemble(grid))
    distances = 1.0 - cosines(grid.features).astype(np.float64)
    suppression = np.exp(-GAMMA * distances**2).astype(np.float32)
    left = np.zeros_like(scores)  # -inf: kept
    ranked = np.empty(budget, np.int32)
    for step in range(budget):
        pick = int((scores + left).argmax())
        scores = np.maximum(scores - suppression[pick] * scores[pick], np.float32(0))
        left[pick] = -np.inf
        ranked[step] = pick
    return keep(grid, ranked)
