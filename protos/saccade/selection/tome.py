"""Merge the most similar pairs, round by round."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import ranking
from saccade.selection.exact import cosines
from saccade.selection.merging import keys_of, merged
from saccade.types import F32, TokenGrid, TokenSet

# Of the tokens left, the share that one round merges away: 576 become 64 in as many rounds as a
# ViT-L has layers, give or take.
SHARE = 8


def tome(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Bipartite rounds: of the tokens at even positions, those most like one at an odd position by
    their keys are merged into it. A token is the mean of its members; the largest come first in
    order. Not nested. Needs keys and features, no attention.

    ToMe (Bolya et al., "Token Merging: Your ViT But Faster", 2023), from its formulas. Published
    inside the encoder, a round per layer, with attention that knows the sizes; here after it, on
    its last keys, averaged by size. Tokens go back into raster order after each round, so that even
    and odd stay neighbours.
    """
    ids = np.arange(len(grid.features), dtype=np.int32)
    owners = ids.copy()
    keys = keys_of(grid).astype(np.float64)  # sums: a direction needs no division by size
    while len(ids) > budget:
        even, odd = ids[0::2], ids[1::2]
        nearness = cosines(keys[even], keys[odd])
        gone = min(len(ids) - budget, max(1, len(ids) // SHARE))
        pairs = ranking(nearness.max(axis=1))[:gone]
        sources, targets = even[pairs], odd[nearness[pairs].argmax(axis=1)]
        np.add.at(keys, targets, keys[sources])
        into = np.arange(len(owners), dtype=np.int32)
        into[sources] = targets
        owners = into[owners]
        ids = np.setdiff1d(ids, sources)
    sizes = np.unique(owners, return_counts=True)[1]
    return merged(grid, ids[np.argsort(-sizes, kind="stable")], owners)
