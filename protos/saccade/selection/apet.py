"""What a few basis tokens can't express."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import ranking
from saccade.selection.exact import F64, cosines, lattice, squares
from saccade.selection.merging import merged, owning
from saccade.types import F32, I32, TokenGrid, TokenSet

BASIS = 10  # as published
RIDGE = 1e-5
RIDGE_SHARE = 1e-12  # of the basis' squares, where these are so large that 1e-5 is nothing
# Of the longest token: errors differ by a step or not at all, as a solver's last bits differ.
ERROR_STEP = 2.0**-20


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
    """At most [count] places: always the one farthest from all before, none twice the same."""
    whole, _ = lattice(features)
    lengths = squares(whole)
    basis = np.full(count, start, np.int32)
    nearest = np.full(len(whole), np.inf)
    for step in range(1, count):
        last = basis[step - 1]
        nearest = np.minimum(nearest, lengths + lengths[last] - 2 * (whole @ whole[last]))
        basis[step] = nearest.argmax()
        if not nearest[basis[step]] > 0:
            return basis[:step]
    return basis


def _errors(rows: F64, basis: I32) -> F32:
    """[T] distances of the rows from the ridge regression on the basis, in steps."""
    stand = rows[basis]
    gram = stand @ stand.T
    gram += max(RIDGE, RIDGE_SHARE * gram.trace()) * np.eye(len(basis))
    weights = np.linalg.solve(gram, stand @ rows.T)
    errors = np.sqrt(squares(rows - weights.T @ stand))
    step = ERROR_STEP * np.sqrt(squares(rows).max()) or 1.0
    return np.rint(errors / step).astype(np.float32)
