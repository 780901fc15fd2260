"""What a few basis tokens can't express."""

from __future__ import annotations

import numpy as np

from saccade.nouns import F32, I32, TokenGrid, TokenSet
from saccade.selection.base import ranking
from saccade.selection.exact import F64, cosines, lattice, squared_distances
from saccade.selection.merging import merged, owning

BASIS = 10  # as published
RIDGE = 1e-5


def apet(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The tokens with the largest error of approximation by a basis, each with those merged into
    it that are most like it; and the basis. Needs features, no attention; not nested.

    ApET (Ma et al., "ApET: Approximation-Error Guided Token Compression for Efficient VLMs", 2026).
    The published basis starts at a random token, here at one drawn with ``seed``. It overwrites the
    places of the kept tokens of least error, here its tokens have their own places. Of a budget
    below 20, half are basis tokens.
    """
    start = int(np.random.PCG64(seed).random_raw()) % len(grid.features)
    basis = _farthest(grid.features, min(BASIS, len(grid.features)), start)
    sent = basis[: budget // 2]
    errors = _errors(grid.features.astype(np.float64), basis)
    errors[sent] = -np.inf
    order = ranking(errors).astype(np.int32)
    best, rest = np.split(order[: len(order) - len(sent)], [budget - len(sent)])
    ranked = np.concatenate([best, sent])
    owners = owning(len(order), ranked)
    by_id = np.sort(best)
    nearness = cosines(grid.features[rest], grid.features[by_id])
    owners[rest] = by_id[nearness.argmax(axis=1)]
    return merged(grid, ranked, owners)


def _farthest(features: F32, count: int, start: int) -> I32:
    """[count] places: always the one farthest from all before."""
    whole, _ = lattice(features)
    basis = np.full(count, start, np.int32)
    nearest = np.full(len(whole), np.inf)
    for step in range(1, count):
        last = whole[basis[step - 1], None]
        nearest = np.minimum(nearest, squared_distances(whole, last)[:, 0])
        nearest[basis[:step]] = -1
        basis[step] = nearest.argmax()
    return basis


def _errors(rows: F64, basis: I32) -> F32:
    """[T] distances of the rows from the ridge regression on the basis."""
    stand = rows[basis]
    gram = stand @ stand.T + RIDGE * np.eye(len(basis))
    weights = np.linalg.solve(gram, stand @ rows.T)
    return np.asarray(np.linalg.norm(rows - weights.T @ stand, axis=1), np.float32)
