"""Half by attention, half by what is unlike the rest."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import last_layer
from saccade.selection.base import Ids, keep, ranking
from saccade.selection.exact import cosines
from saccade.types import F32, TokenGrid, TokenSet

DROPPED_PER_ROUND = 8  # as published


def vispruner(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Needs saliency (the last exported layer) and features. In order of attention; not nested.

    VisPruner (Zhang et al., "Beyond Text-Visual Attention: Exploiting Visual Cues for Effective
    Token Pruning in VLMs", 2025), with its even split. The published code fails where an odd
    number of tokens is left over; here the even places are then one more than the odd ones.
    """
    return half_and_half(grid, last_layer(grid), budget)


def half_and_half(grid: TokenGrid, scores: F32, budget: int) -> TokenSet:
    """The best half of ``budget`` by ``scores``: [T]; of the rest, what is left after thinning."""
    order = ranking(scores)
    best, rest = order[: budget // 2], order[budget // 2 :]
    kept = np.concatenate([best, thinned(cosines(grid.features), rest, budget - len(best))])
    return keep(grid, order[np.isin(order, kept)])


def thinned(similarity: F32, order: Ids, count: int) -> Ids:
    """``count`` of the places in ``order``, at least 1: in rounds, those at even positions that are
    most like one at an odd position go.
    """
    while len(order) > count:
        even, odd = order[0::2], order[1::2]
        # Rows, then columns: nearly twice as fast as both at once.
        closest = ranking(similarity.take(even, axis=0).take(odd, axis=1).max(axis=1))
        gone = min(DROPPED_PER_ROUND, len(order) - count, len(even))
        order = np.concatenate([even[closest[gone:]], odd])
    return order
