"""Cover the picture: every token well represented by one that is kept."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import keep
from saccade.selection.exact import cosines
from saccade.types import F32, TokenGrid, TokenSet

TEMPERATURE = 0.2  # of the softmax over vision tokens, as published
# Likenesses are multiples of this: float32 holds them, and float64 their sums over 2^16 tokens.
STEP = 2.0**-36


def mmtok(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Greedy maximum coverage: a token is covered as well as its best likeness to a kept one, and
    always the token is kept that adds most coverage; prefix-nested. Needs features. The likeness of
    i to j is the softmax over j of their cosine / 0.2.

    The vision half of MMTok (Dong et al., "MMTok: Multimodal Coverage Maximization for Efficient
    Inference of VLMs", 2025), which also covers the question's words; here frames are sent before
    they are asked about. Similarities are of the encoder's features, as published.
    """
    likeness = _likeness(grid.features)
    covered = np.zeros(len(likeness), np.float32)
    gains = likeness.sum(axis=0, dtype=np.float64)
    ranked = np.empty(budget, np.int32)
    for step in range(budget):
        pick = int(gains.astype(np.float32).argmax())
        better = np.flatnonzero(likeness[:, pick] > covered)
        rows, before, after = likeness[better], covered[better], likeness[better, pick]
        # Only what the pick covers better changes what others would add.
        lost = np.maximum(rows, before[:, None])
        lost -= np.maximum(rows, after[:, None])
        gains -= lost.sum(axis=0, dtype=np.float64) + (after - before).sum(dtype=np.float64)
        covered[better] = after
        gains[pick] = -np.inf
        ranked[step] = pick
    return keep(grid, ranked)


def _likeness(features: F32) -> F32:
    """[T, T] float32, multiples of ``STEP``; each row sums to 1, but for rounding."""
    powers = cosines(features).astype(np.float64)
    powers -= 1.0  # the largest cosine
    powers /= TEMPERATURE
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=1, keepdims=True) * STEP
    np.rint(powers, out=powers)
    powers *= STEP
    return powers.astype(np.float32)
