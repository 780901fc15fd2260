"""Attention times likeness to a text, and what is unlike the rest."""

from __future__ import annotations

import numpy as np

from saccade.selection.attention import last_layer, spanned
from saccade.selection.exact import F64, cosines
from saccade.selection.vispruner import half_and_half
from saccade.types import F32, TokenGrid, TokenSet

# All as published.
TEXT_TEMPERATURE, TOKEN_TEMPERATURE, SHARPNESS = 0.05, 0.01, 2.5
BEST_SHARE, DAMPED = 0.995, 0.1
FLOOR = 1e-6


def flashvlm(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The geometric mean of attention and likeness to the text ranks; half are the best, half what
    `vispruner` leaves of the rest. Needs saliency (the last exported layer), features, and
    ``text``: embeddings of the question's tokens in the features' space. Not nested.

    FlashVLM (Cai et al., "FlashVLM: Text-Guided Visual Token Selection for Large Multimodal
    Models", 2025). Likeness is taken of the encoder's features where the published code projects
    them first; and in float64, as its powers of a softmax vanish in float32.
    """
    assert text is not None  # `select` has checked it
    attention = spanned(last_layer(grid)).astype(np.float64) + FLOOR
    likeness = _likeness(cosines(grid.features, text).astype(np.float64))
    score = np.exp(0.5 * (np.log(attention) + np.log(np.maximum(likeness, FLOOR))))
    return half_and_half(grid, spanned(score.astype(np.float32)), budget)


def _likeness(cosine: F64) -> F64:
    """[T, M] cosines to [T] from 0 to 1, sharpened, with all but the best damped."""
    alike = (_softmax(cosine / TEXT_TEMPERATURE, axis=1) * cosine).sum(axis=1)
    sharp = _spanned(_softmax(alike / TOKEN_TEMPERATURE, axis=0) ** SHARPNESS)
    best = sharp >= np.quantile(sharp, BEST_SHARE)
    return _spanned(np.where(best, sharp, DAMPED * sharp))


def _softmax(logits: F64, axis: int) -> F64:
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True), np.float64)


def _spanned(values: F64) -> F64:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)
