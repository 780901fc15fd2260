"""How many tokens of a frame's budget each of its views gets: ``allot(grids, windows, budget)``.

A quota gives every view a weight; `allot` turns weights into whole tokens. Logarithms and powers
are float64 rounded to float32, so that machines agree on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from saccade.errors import SelectionError
from saccade.selection.attention import last_layer
from saccade.selection.exact import F64, cosines
from saccade.selection.merging import keys_of
from saccade.types import F32, Box, TokenGrid

Quota = Callable[[Sequence[TokenGrid], Sequence[Box]], F64]

ATA_LEAST = 4  # tokens of the least relevant view, as published
# When are two patches alike, and what share of a view may be like one before it is redundant? The
# paper's thresholds are not published.
ALIKE = 0.8
ALIKE_SHARE = 1 / 16


def allot(
    grids: Sequence[TokenGrid],
    windows: Sequence[Box],
    budget: int,
    *,
    method: str = "equal",
    most: int | None = None,
) -> tuple[int, ...]:
    """Tokens for each view, at least 1 and at most T or ``most``; their sum is ``budget``.

    ``windows``: of the views, all in the same units, the overview first.
    Raises SelectionError for an unknown method, no or too few windows, a budget below one token per
    view or above all that the views may have, and as `thumbnail_quota` and the others.
    """
    quota = QUOTAS.get(method)
    if quota is None:
        raise SelectionError(f"unknown quota {method!r}, known are: {', '.join(sorted(QUOTAS))}")
    if not grids or len(grids) != len(windows):
        raise SelectionError(f"{len(grids)} views with {len(windows)} windows")
    sizes = [len(grid.features) for grid in grids]
    limits = sizes if most is None else [min(size, most) for size in sizes]
    if not len(grids) <= budget <= sum(limits):
        raise SelectionError(
            f"a budget of {budget} tokens for {len(grids)} views: give {len(grids)}..{sum(limits)}"
        )
    weights = quota(grids, windows).tolist()
    if method == "ata":
        base = [min(ATA_LEAST, budget // len(grids), limit) for limit in limits]
        return _whole(weights, budget, base, limits)
    base = _at_least_one(weights, budget)
    unmet = [0.0 if b else w for w, b in zip(weights, base, strict=True)]
    return _whole(unmet, budget, base, limits)


def equal(grids: Sequence[TokenGrid], windows: Sequence[Box]) -> F64:
    """The same for every view; what is over goes to the first."""
    return np.ones(len(grids))


def thumbnail_quota(grids: Sequence[TokenGrid], windows: Sequence[Box]) -> F64:
    """More for the crops that the overview's CLS attends to: 1 + p - mean p, where p is the softmax
    over crops of the logarithm of attention per patch under the crop. The overview has 1.

    GlobalCom² (Liu et al., "Compression with Global Guidance: Towards Training-free High-Resolution
    MLLMs Acceleration", 2025). Published with the sum of raw logits over cells of one size, divided
    by 10, which saturates. A crop here has any size, hence the mean; the logarithm of attention is
    the logit but for a constant. Raises SelectionError for saliency that is missing or not finite,
    and for a crop outside the overview.
    """
    sizes = np.array([len(grid.features) for grid in grids], np.float64)
    if len(grids) == 1:
        return sizes
    logits = _overview_logits(grids[0], windows)[1:]
    powers = np.exp(logits - logits.max())
    shares = powers / powers.sum()
    return np.concatenate([[1], 1 + shares - shares.mean()]) * sizes


def ata(grids: Sequence[TokenGrid], windows: Sequence[Box]) -> F64:
    """By relevance from 0 (least) to 1 (most), above 4 tokens for each; equal where all are equal.

    Tempo's allocator ("Small Vision-Language Models are Smart Compressors for Long Video
    Understanding", 2026), which shares tokens among a video's segments by a small model's word.
    Here a crop's relevance is the overview's attention under its window, as in `thumbnail_quota`,
    and the overview's is the crops' mean: it shows them all. The budget is always spent, where the
    published one may leave some. Raises SelectionError as `thumbnail_quota`.
    """
    relevance = _overview_logits(grids[0], windows)
    relevance[0] = relevance[1:].mean() if len(grids) > 1 else 1.0
    low, high = relevance.min(), relevance.max()
    return (relevance - low) / (high - low) if high > low else np.ones(len(grids))


def correlation_density(grids: Sequence[TokenGrid], windows: Sequence[Box]) -> F64:
    """By how many patches are not redundant: redundant is a patch whose keys are like those of many
    others in its view.

    After Zhang et al., "Token-level Correlation-guided Compression for Efficient Multimodal
    Document Understanding", 2024. Its thresholds and code are not published: here a cosine of 0.8
    with more than a sixteenth of the view. Raises SelectionError for keys that are missing or not
    finite.
    """
    return np.array([_distinct(keys_of(grid)) for grid in grids], np.float64)


QUOTAS: Mapping[str, Quota] = {
    "equal": equal,
    "thumbnail_quota": thumbnail_quota,
    "ata": ata,
    "correlation_density": correlation_density,
}


def _distinct(keys: F32) -> int:
    """Patches that are not redundant."""
    alike = np.count_nonzero(cosines(keys) >= ALIKE, axis=1) - 1
    return int(np.count_nonzero(alike <= max(1.0, ALIKE_SHARE * len(keys))))


def _overview_logits(overview_grid: TokenGrid, windows: Sequence[Box]) -> F64:
    """Per window the mean logarithm of the overview's attention to the patches under it."""
    # A patch that CLS doesn't see at all: as far below the others as float32 goes.
    attention = np.maximum(last_layer(overview_grid), np.finfo(np.float32).tiny)
    frames, rows, columns = overview_grid.grid
    logits = np.log(attention.astype(np.float64)).reshape(frames, rows, columns).mean(axis=0)
    x0, y0, x1, y1 = windows[0]
    means = []
    for window in windows:
        across = _overlaps(x0, x1, columns, window[0], window[2])
        down = _overlaps(y0, y1, rows, window[1], window[3])
        area = down.sum() * across.sum()
        if not area > 0:
            raise SelectionError(f"window {window} has no area inside the overview's {windows[0]}")
        means.append((down[:, None] * across * logits).sum() / area)
    return np.array(means, np.float32).astype(np.float64)


def _overlaps(start: float, stop: float, cells: int, low: float, high: float) -> F64:
    """[cells]: how much of low..high lies in each equal part of start..stop."""
    edges = start + (stop - start) * np.arange(cells + 1) / cells
    return np.asarray(np.diff(np.clip(edges, low, high)), np.float64)


def _at_least_one(weights: Sequence[float], budget: int) -> list[int]:
    """1 for each view whose share of ``budget`` by weight is less, 0 for the others; as often as
    what that takes leaves another view with less than one.
    """
    base = [0] * len(weights)
    while True:
        total = math.fsum(w for w, b in zip(weights, base, strict=True) if not b)
        left = budget - sum(base)
        small = [not b and left * w < total for w, b in zip(weights, base, strict=True)]
        if not any(small):
            return base
        base = [b or int(s) for b, s in zip(base, small, strict=True)]


def _whole(
    weights: Sequence[float], budget: int, base: Sequence[int], limits: Sequence[int]
) -> tuple[int, ...]:
    """``base``, and of what it leaves of ``budget`` shares by weight, within ``limits``: whole
    tokens of each share, then one each by what is left of it; of equal remainders the first view's.
    What a full view can't take goes to the others in the same way.
    """
    counts = list(base)
    while (left := budget - sum(counts)) > 0:
        free = [i for i, limit in enumerate(limits) if counts[i] < limit]
        mine = [weights[i] for i in free]
        if not sum(mine) > 0:
            mine = [1.0] * len(free)
        shares = [left * weight / math.fsum(mine) for weight in mine]
        for i, share in zip(free, shares, strict=True):
            counts[i] += min(math.floor(share), limits[i] - counts[i])
        over = budget - sum(counts)
        by_rest = sorted(range(len(free)), key=lambda n: -(shares[n] % 1))
        for n in by_rest[:over]:
            counts[free[n]] += counts[free[n]] < limits[free[n]]
    return tuple(counts)
