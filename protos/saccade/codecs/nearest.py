"""The nearest entry of a codebook, exactly, at the speed of float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.types import I32

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


class Nearest:
    """Searches ``entries`` [E, D] int32.

    A search in float32 leaves the entries that rounding may hide the nearest among, seldom more
    than one; these are compared by integers that float64 holds, so that the order in which a
    machine adds changes nothing.
    """

    def __init__(self, entries: I32) -> None:
        self._entries = entries.astype(np.float64)
        self._norms = (self._entries**2).sum(axis=1)
        # The norms are one more row: one product gives the scores.
        rows = np.concatenate([-2 * self._entries.T, self._norms[None]])
        self._coarse = np.ascontiguousarray(rows, np.float32)
        # Of a float32 sum of D + 1 products: D + 5 roundings, each half of 2^-23 of what is added.
        self._rounding = (entries.shape[1] + 5) * 2.0**-23
        self._reach = float(np.sqrt(self._norms.max()))

    def __call__(self, residuals: F64) -> I64:
        """The nearest entry of each row, lowest index first: [K, D] integers -> [K]."""
        if not len(residuals):
            return np.zeros(0, np.int64)
        ones = np.ones((len(residuals), 1), np.float32)
        scores = np.concatenate([residuals.astype(np.float32), ones], axis=1) @ self._coarse
        longest = np.sqrt((residuals**2).sum(axis=1))
        slack = self._rounding * (2 * longest * self._reach + self._reach**2)
        close = scores <= (scores.min(axis=1) + 2 * slack).astype(np.float32)[:, None]
        rows, columns = np.divmod(np.flatnonzero(close), len(self._entries))
        if len(rows) == len(residuals):
            return columns  # one is close to each
        products = np.einsum("kd,kd->k", residuals[rows], self._entries[columns])
        exact = self._norms[columns] - 2 * products
        starts = np.searchsorted(rows, np.arange(len(residuals)))
        least = np.minimum.reduceat(exact, starts)
        hits = np.flatnonzero(exact == least[rows])
        _, first = np.unique(rows[hits], return_index=True)
        return np.asarray(columns[hits[first]], np.int64)
