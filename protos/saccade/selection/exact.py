"""Cosines and distances that come out the same on every machine.

Rows are rounded to integers so small that every sum of products stays below 2^53, where float64
adds without rounding: the order of addition, which BLAS libraries, vector units and threads
choose as they like, no longer matters. What remains are single IEEE operations.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.types import F32

F64 = npt.NDArray[np.float64]

# Cosines are multiples of this. float32 holds them and their differences exactly.
COSINE_STEP = 2.0**-22


def bits(dim: int) -> int:
    """For integers of at most 2^bits: a squared distance of ``dim`` of them is at most 2^53.

    At most 22: nine rows added, as in a window, still have a square that is exact.
    """
    return min(22, (51 - dim.bit_length()) // 2)


def directions(rows: npt.NDArray[np.floating]) -> F64:
    """[N, D] to whole numbers, each row 2^bits(D) long but for rounding; zero rows stay zero."""
    one = 2.0 ** bits(rows.shape[1])
    whole = rows.astype(np.float64)
    if rows.size:
        peaks = np.maximum(whole.max(axis=1), -whole.min(axis=1))
        # Divided, not multiplied: one / peak overflows for the smallest numbers.
        whole /= np.where(peaks > 0, peaks, 1.0)[:, None]
        whole *= one
        np.rint(whole, out=whole)
    lengths = np.sqrt(np.einsum("ij,ij->i", whole, whole))
    whole *= (one / np.where(lengths > 0, lengths, 1.0))[:, None]
    return np.rint(whole, out=whole)


def cosines(rows: npt.NDArray[np.floating], others: npt.NDArray[np.floating] | None = None) -> F32:
    """[N, D] and [M, D] (the same where None) to float32 [N, M], multiples of ``COSINE_STEP``.

    A zero row has a cosine of 0 with everything.
    """
    left = directions(rows)
    right = left if others is None else directions(others)
    dots = left @ right.T
    dots *= 2.0 ** (-2 * bits(rows.shape[1])) / COSINE_STEP
    np.rint(dots, out=dots)
    dots *= COSINE_STEP
    return np.asarray(dots, np.float32)


def lattice(rows: npt.NDArray[np.floating]) -> tuple[F64, float]:
    """[N, D] to whole numbers of one common scale, and the length of their step."""
    peak = float(np.abs(rows).max(initial=0)) or 1.0
    one = 2.0 ** bits(rows.shape[1])
    whole = rows.astype(np.float64)
    whole /= peak
    whole *= one
    return np.rint(whole, out=whole), peak / one


def squares(whole: F64) -> F64:
    """[N, D] whole numbers to the [N] squared lengths."""
    return np.asarray(np.einsum("ij,ij->i", whole, whole), np.float64)


def squared_distances(whole: F64, others: F64) -> F64:
    """[N, D] and [M, D] of one lattice to [N, M], in squared steps."""
    dots: F64 = whole @ others.T
    dots *= -2
    dots += squares(whole)[:, None]
    dots += squares(others)
    return dots
