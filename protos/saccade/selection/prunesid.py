"""Groups around principal components, and of each group those that are unlike each other."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from saccade.selection.attention import last_layer
from saccade.selection.base import keep, ranking
from saccade.selection.exact import F64, cosines
from saccade.types import F32, TokenGrid, TokenSet

I64 = npt.NDArray[np.int64]

# As published: tokens to keep for each group, and for each mean cosine of the threshold; the most
# of one group, for each 64 tokens to keep; and the steps of the iteration.
PER_GROUP, PER_THRESHOLD, MOST_OF_GROUP, MOST_FOR, ITERATIONS = 4, 32, 5, 64, 2
# Components below this share of the largest are rounding errors, which differ between machines.
LEAST_SHARE = 1e-6


def prunesid(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """Each token belongs to the principal component that it weighs most in, of a quarter as many
    as are kept. In each group the best are kept whose cosine with a better one is not above
    budget / 32 times the mean cosine; how many of them, goes by how many such there are. The best
    are those with the most attention, or without saliency with the largest weight in their
    component. In order of the rank in their groups; not nested. Needs features.

    PruneSID (Fang et al., "Prune Redundancy, Preserve Essence: Vision Token Compression in VLMs via
    Synergistic Importance-Diversity", 2026). Its randomised components start from a draw with
    ``seed``. CLS is not sent; the share that it would have goes to the groups.
    """
    weights = loadings(grid.features, max(budget // PER_GROUP, 1), seed)
    group = weights.argmax(axis=1)
    scores = last_layer(grid) if 0 not in grid.saliency.shape else weights.max(axis=1)
    order, survivors = _suppress(cosines(grid.features), scores, group, budget)
    shares = _shares(np.bincount(group), survivors, budget)
    rank = np.empty(len(group), np.int64)
    for members in order:
        rank[members] = np.arange(len(members))
    taken = ranking(scores)
    taken = taken[rank[taken] < shares[group[taken]]]
    return keep(grid, taken[np.argsort(rank[taken], kind="stable")])


def loadings(features: F32, components: int, seed: int) -> F32:
    """[T, N] absolute weights of tokens in ``components`` principal components, or as many as
    there are features; 0 in those that hold nothing. Of each token the sigmoid of its features
    less their mean, by subspace iteration (Halko et al. 2011).
    """
    rows: F64 = 1 / (1 + np.exp(-np.clip(features.astype(np.float64), -60, 60)))
    rows -= rows.mean(axis=1, keepdims=True)
    rank = min(components, rows.shape[1])
    # Raw bits: NumPy keeps a bit generator's stream, not what a Generator makes of it.
    bits = np.random.PCG64(seed).random_raw((len(rows), rank))
    start = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
    basis = np.linalg.qr(rows.T @ start)[0]
    for _ in range(ITERATIONS):
        basis = np.linalg.qr(rows.T @ np.linalg.qr(rows @ basis)[0])[0]
    _, sizes, components_of = np.linalg.svd(basis.T @ rows.T, full_matrices=False)
    real = sizes > LEAST_SHARE * max(float(sizes[0]), LEAST_SHARE)
    return np.asarray(np.abs(components_of.T) * real, np.float32)


def _suppress(
    nearness: F32, scores: F32, group: I64, budget: int
) -> tuple[list[I64], npt.NDArray[np.int64]]:
    """The members of each group, those that survive by falling score, then the others; and how
    many survive [N].
    """
    pairs = len(scores) * (len(scores) - 1) or 1
    mean = (nearness.sum(dtype=np.float64) - nearness.diagonal().sum(dtype=np.float64)) / pairs
    threshold = np.float32(budget / PER_THRESHOLD * mean)
    order: list[I64] = []
    survivors = np.zeros(int(group.max()) + 1, np.int64)
    ranked = ranking(scores)
    for number in range(len(survivors)):
        left = ranked[group[ranked] == number]
        kept: list[int] = []
        members = left
        while len(left):
            kept.append(int(left[0]))
            left = left[1:][nearness[left[0], left[1:]] <= threshold]
        survivors[number] = len(kept)
        order.append(np.concatenate([np.array(kept, np.int64), members[~np.isin(members, kept)]]))
    return order, survivors


def _shares(sizes: I64, survivors: I64, budget: int) -> I64:
    """How many of each group are kept [N]: one, and of the rest a share by its survivors; at most
    five for each 64 of the budget, or more where that does not suffice. What is left goes to those
    with the most survivors.
    """
    most = np.minimum(MOST_OF_GROUP * math.ceil(budget / MOST_FOR), survivors)
    while most.sum() < budget:
        most = np.minimum(most + 1, sizes)
    least = np.minimum(sizes, 1)
    ends = np.rint(np.cumsum(survivors) * (budget - least.sum()) / survivors.sum())
    shares = np.minimum(least + np.diff(ends, prepend=0).astype(np.int64), most)
    for number in ranking(survivors.astype(np.float64)):
        shares[number] += min(int(most[number] - shares[number]), int(budget - shares.sum()))
    return np.asarray(shares, np.int64)
