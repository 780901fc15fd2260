"""Scores from what CLS attends to. They raise SelectionError for saliency that is missing or not
finite.
"""

from __future__ import annotations

import numpy as np

from saccade.errors import SelectionError
from saccade.types import F32, TokenGrid


def ensemble(grid: TokenGrid) -> F32:
    """[T]: head-means, summed over the exported layers."""
    return _finite(_rows(grid).mean(axis=1, dtype=np.float32).sum(axis=0, dtype=np.float32))


def last_layer(grid: TokenGrid) -> F32:
    """[T]: the last exported layer's head-mean."""
    return _finite(_rows(grid)[-1].mean(axis=0, dtype=np.float32))


def spanned(scores: F32) -> F32:
    """Scores from 0 (least) to 1 (most); all 0 where they are equal."""
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _rows(grid: TokenGrid) -> F32:
    if 0 in grid.saliency.shape:
        raise SelectionError(
            f"this method needs saliency rows, the encoder exports {list(grid.saliency.shape)}"
        )
    return grid.saliency


def _finite(scores: F32) -> F32:
    bad = int(np.count_nonzero(~np.isfinite(scores)))
    if bad:
        raise SelectionError(f"{bad} of {len(scores)} saliency scores are not finite")
    return scores
