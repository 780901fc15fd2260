"""Principal components of an encoder's features, in pieces that fit into memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs.klt_table import UNIT_BITS
from saccade.types import F32, I32

F64 = npt.NDArray[np.float64]
_LEAST_SHARE = 1e-9  # of the largest variance: below it a component is rounding error
_AT_ONCE = 1 << 22  # numbers of a piece: 32 MiB


@dataclass(frozen=True, slots=True)
class Principal:
    """``mean``: [D] float32; ``variances``: [D], largest first; ``basis``: [D, D] int32,
    components in units of 2^-20, a row each.
    """

    mean: F32
    variances: F64
    basis: I32


def principal(features: F32) -> Principal:
    """Of ``features`` [N, D] float32."""
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    square = np.zeros((features.shape[1], features.shape[1]))
    for piece in pieces(features):
        wide = (piece - mean).astype(np.float64)
        square += wide.T @ wide
    variances, columns = np.linalg.eigh(square / len(features))
    rows = columns.T[::-1]
    largest = np.abs(rows).argmax(axis=1)
    rows = rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]  # eigh chooses no sign
    floor = max(float(variances[-1]) * _LEAST_SHARE, np.finfo(np.float64).tiny)
    units = np.rint(rows * 2.0**UNIT_BITS).astype(np.int32)
    return Principal(mean, np.maximum(variances[::-1], floor), units)


def pieces(features: F32) -> list[F32]:
    """Rows few enough at once for a copy in float64."""
    step = max(_AT_ONCE // features.shape[1], 1)
    return [features[start : start + step] for start in range(0, len(features), step)]
