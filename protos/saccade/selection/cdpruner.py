"""Relevant to a text and unlike each other: a determinantal point process."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import spanned
from saccade.selection.base import keep, ranking
from saccade.selection.exact import F64, cosines
from saccade.types import F32, I32, TokenGrid, TokenSet

# Share of the largest diagonal entry below which what is left of one is rounding, not a direction.
RANK_FLOOR = 1e-5


def cdpruner(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The greedy MAP subset of a DPP with kernel r_i cos_ij r_j; prefix-nested. Needs features, and
    ``text``: CLIP's embeddings of the question in the features' space.

    CDPruner (Zhang et al., "Beyond Attention or Similarity: Maximizing Conditional Diversity for
    Token Pruning in MLLMs", 2025). Relevance r is the negated mean cosine, as published: CLIP's
    patches and texts are alike the wrong way round. Three departures: similarity and relevance are
    taken of one kind of features, where the paper has the language model's and CLIP's. r lies
    between 1e-6 and 1 also where all are equal. And where as many tokens are kept as the features
    have dimensions, the published code divides by a residual of zero and repeats tokens; here the
    rest follow by relevance.
    """
    assert text is not None  # `select` has checked it
    alike = -cosines(grid.features, text).mean(axis=1, dtype=np.float64).astype(np.float32)
    relevance = spanned(alike) if alike.max() > alike.min() else np.ones_like(alike)
    relevance = relevance + np.float32(1e-6)
    picks = _greedy(cosines(grid.features), relevance.astype(np.float64), budget)
    order = ranking(relevance)
    rest = order[~np.isin(order, picks)]
    return keep(grid, np.concatenate([picks, rest])[:budget])


def _greedy(similarity: F32, relevance: F64, count: int) -> I32:
    """At most ``count`` places, fewer where the kernel's rank is exhausted (Chen et al., "Fast
    Greedy MAP Inference for Determinantal Point Process", 2018).
    """
    left = np.diag(similarity) * relevance**2
    floor = RANK_FLOOR * left.max()
    factors = np.empty((count, len(relevance)))
    picks = np.empty(count, np.int32)
    for step in range(count):
        pick = int(left.astype(np.float32).argmax())
        if left[pick] <= floor:
            return picks[:step]
        row = relevance[pick] * similarity[pick] * relevance
        row -= factors[:step, pick] @ factors[:step]
        factors[step] = row / np.sqrt(left[pick])
        left -= factors[step] ** 2
        left[pick] = -np.inf
        picks[step] = pick
    return picks
