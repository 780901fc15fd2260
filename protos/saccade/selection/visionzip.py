"""What CLS attends to, and the rest merged into a few contextual tokens."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import last_layer
from saccade.selection.base import ranking
from saccade.selection.exact import cosines
from saccade.selection.merging import keys_of, member_sums, merged, owning
from saccade.types import F32, I32, TokenGrid, TokenSet


def visionzip(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Needs saliency (the last exported layer), keys and features. By attention, then the
    contextual tokens; not nested.

    VisionZip (Yang et al., "VisionZip: Longer is Better but Not Necessary in Vision Language
    Models", 2024). As in its code, a contextual token is its target plus the mean of those merged
    into it, about twice as long as a token; `visionzip_mean` is the average that one expects. It
    also sends CLS, which is not among the tokens here. 10 of 64 are contextual as published, at
    least one.
    """
    ranked, owners = _groups(grid, budget)
    sums, sizes = member_sums(grid, owners)
    targets = grid.features[np.sort(ranked)].astype(np.float64)
    return merged(grid, ranked, owners, targets + (sums - targets) / np.maximum(sizes - 1, 1))


def visionzip_mean(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """`visionzip` with contextual tokens that are the mean of all their members."""
    return merged(grid, *_groups(grid, budget))


def _groups(grid: TokenGrid, budget: int) -> tuple[I32, I32]:
    """([K] kept places, most important first; [T] owners)."""
    contextual = max(1, budget * 10 // 64)
    order = ranking(last_layer(grid)).astype(np.int32)
    dominant = order[: budget - contextual]
    rest = np.sort(order[len(dominant) :])
    targets = rest[:: len(rest) // contextual][:contextual]
    ranked = np.concatenate([dominant, targets])
    owners = owning(len(order), ranked)
    others = np.setdiff1d(rest, targets)
    keys = keys_of(grid)
    owners[others] = targets[cosines(keys[others], keys[targets]).argmax(axis=1)]
    return ranked, owners
