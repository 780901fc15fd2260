"""Maximal marginal relevance: important, and unlike what is kept already."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import ensemble, spanned
from saccade.selection.base import keep
from saccade.selection.exact import cosines
from saccade.types import F32, I32, TokenGrid, TokenSet

IMPORTANCE = np.float32(0.5)  # against redundancy, as published


def mmr(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """`marginal` with the sum of attention over the exported layers; prefix-nested. Needs saliency
    and features.

    The rule of IDPruner (Tencent AngelSlim, 2025), after Carbonell and Goldstein, "The Use of MMR",
    1998. Published with the importance of a trained scorer, which is not needed here.
    """
    return keep(grid, marginal(grid.features, ensemble(grid), budget))


def marginal(features: F32, importance: F32, count: int) -> I32:
    """[count] places for any importance [T]: the most important first, then always the most of
    half its importance (from 0 to 1) less half its largest cosine with what is kept.
    """
    nearness = cosines(features)
    worth = IMPORTANCE * spanned(importance)
    ranked = np.empty(count, np.int32)
    redundancy = np.zeros_like(worth)
    for step in range(count):
        pick = int((worth - (1 - IMPORTANCE) * redundancy).argmax())
        redundancy = nearness[pick] if step == 0 else np.maximum(redundancy, nearness[pick])
        worth[pick] = -np.inf
        ranked[step] = pick
    return ranked
