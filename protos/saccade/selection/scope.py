"""Cover the picture with what CLS attends to."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import last_layer
from saccade.selection.base import keep
from saccade.selection.exact import cosines
from saccade.types import F32, TokenGrid, TokenSet


def scope(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Greedy by coverage gained times attention: a token is covered as well as its largest cosine
    with a kept one, at least 0; prefix-nested. Needs saliency (the last exported layer) and
    features.

    SCOPE (Deng et al., "SCOPE: Saliency-Coverage Oriented Token Pruning for Efficient Multimodal
    LLMs", 2025), its exponent 1. Gains are updated, not added up anew: only by the tokens that the
    last pick covers better. Cosines are multiples of 2^-22, so that this is exact.
    """
    attention = last_layer(grid)
    nearness = cosines(grid.features)
    covered = np.zeros(len(nearness), np.float32)
    gains = np.maximum(nearness, 0).sum(axis=0, dtype=np.float64)
    left = np.zeros_like(attention)  # -inf: kept
    ranked = np.empty(budget, np.int32)
    for step in range(budget):
        pick = int(((gains * attention).astype(np.float32) + left).argmax())
        better = np.flatnonzero(nearness[pick] > covered)
        rows, before, after = nearness[better], covered[better], nearness[pick, better]
        lost = np.maximum(rows, before[:, None])
        lost -= np.maximum(rows, after[:, None])
        gains -= lost.sum(axis=0, dtype=np.float64) + (after - before).sum(dtype=np.float64)
        covered[better] = after
        left[pick] = -np.inf
        ranked[step] = pick
    return keep(grid, ranked)
