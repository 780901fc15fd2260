"""Merge even windows, then drop what CLS does not attend to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.selection.attention import last_layer
from saccade.selection.base import ranking
from saccade.selection.exact import bits, directions, squares
from saccade.selection.merging import DROPPED, group_sums, merged
from saccade.types import F32, I32, TokenGrid, TokenSet

SIDE = 3  # of a window; this and the next two as published
ALIKE = 0.8
PROTECTED = 0.08


def mustdrop(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """3 x 3 windows whose tokens have a mean cosine of at least 0.8 become their mean, at the
    middle token's place, the most even first, while that leaves ``budget``. Of what is left the
    tokens with the most attention are kept, members' added up, the protected set first: the best
    8 %, which are never merged. Owners of dropped tokens are -1; not nested. Needs saliency (the
    last exported layer) and features.

    MustDrop (Liu et al., "Multi-Stage Vision Token Dropping: Towards Efficient Multimodal Large
    Language Model", 2024), its stage in the encoder. Published after the first layer, and the
    protected set is only spared later, by the stages in the language model, which drop by the
    text's attention; here CLS's takes that place, to meet the budget. Windows end at the edges of
    grids that 3 does not divide.
    """
    attention = last_layer(grid)
    protected = ranking(attention)[: int(np.ceil(PROTECTED * len(attention)))]
    owners = _merge(grid, budget, protected)
    ids, of = np.unique(owners, return_inverse=True)
    scores = group_sums(attention[:, None], of)[:, 0].astype(np.float32)
    scores[np.isin(ids, protected)] += np.float32(attention.sum(dtype=np.float64) + 1)
    ranked = ids[ranking(scores)[:budget]]
    return merged(grid, ranked, np.where(np.isin(owners, ranked), owners, DROPPED).astype(np.int32))


def _merge(grid: TokenGrid, budget: int, protected: npt.NDArray[np.int64]) -> I32:
    """[T] owners after the windows."""
    window = _windows(grid.grid)
    evenness = _evenness(grid.features, window)
    evenness[window[protected]] = -np.inf
    owners = np.arange(len(window), dtype=np.int32)
    left = len(window)
    for index in ranking(evenness):
        members = np.flatnonzero(window == index)
        if evenness[index] >= ALIKE and left - len(members) + 1 >= budget:
            owners[members] = members[(len(members) - 1) // 2]
            left -= len(members) - 1
    return owners


def _windows(shape: tuple[int, int, int]) -> I32:
    """[T]: each token's window, by number in raster order."""
    _, rows, columns = shape
    t, y, x = np.indices(shape)
    per_row, per_column = -(-columns // SIDE), -(-rows // SIDE)
    number = (t * per_column + y // SIDE) * per_row + x // SIDE
    return np.asarray(number.ravel(), np.int32)


def _evenness(features: F32, window: I32) -> F32:
    """Per window the mean cosine of two of its tokens, -inf where there is only one."""
    whole = directions(features)
    sizes = np.bincount(window)
    # The square of a sum holds each pair twice, and each token's own square.
    pairs = squares(group_sums(whole, window)) - group_sums(squares(whole)[:, None], window)[:, 0]
    mean = pairs / np.maximum(sizes * (sizes - 1), 1) / 4.0 ** bits(features.shape[1])
    return np.where(sizes > 1, mean, -np.inf).astype(np.float32)
