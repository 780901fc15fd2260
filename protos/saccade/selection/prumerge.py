"""What CLS attends to, each with its neighbours, and one token of all the rest."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import last_layer
from saccade.selection.base import ranking
from saccade.selection.exact import cosines
from saccade.selection.merging import keys_of, merged, owning
from saccade.types import F32, TokenGrid, TokenSet

NEIGHBOURS = 32  # as published


def prumerge(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """``budget`` - 1 tokens by attention, each plus its 32 nearest neighbours by keys times their
    attention; and the sum of all others times theirs, at the place of the best of them, which owns
    them. In order of attention; not nested. Needs saliency (the last exported layer), keys and
    features.

    LLaVA-PruMerge (Shang et al., "LLaVA-PruMerge: Adaptive Token Reduction for Efficient Large
    Multimodal Models", 2024), with a budget: the published one is adaptive and keeps the outliers
    of attention, which a link's budget does not allow. Attention is the head-mean, where the
    published code takes one softmax over all heads' channels. The sums are not weighted means, as
    published: the last token is short. With the whole budget nothing is merged.
    """
    attention = last_layer(grid)
    order = ranking(attention).astype(np.int32)
    ranked = order[:budget]
    owners = owning(len(order), ranked)
    if budget == len(order):
        return merged(grid, ranked, owners)
    best, rest = order[: budget - 1], order[budget - 1 :]
    owners[rest] = rest[0]
    keys = keys_of(grid)
    nearness = cosines(keys[best], keys)
    nearness[np.arange(len(best)), best] = -np.inf  # no neighbour of itself
    count = min(NEIGHBOURS, len(order) - 1)
    nearest = np.argsort(-nearness, axis=1, kind="stable")[:, :count]
    weights = np.zeros((budget, len(order)))
    np.put_along_axis(weights[:-1], nearest, attention[nearest].astype(np.float64), axis=1)
    weights[np.arange(len(best)), best] = 1
    weights[-1, rest] = attention[rest]
    sums = weights @ grid.features.astype(np.float64)
    return merged(grid, ranked, owners, sums[np.argsort(ranked)])
