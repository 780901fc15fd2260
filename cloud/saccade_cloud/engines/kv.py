"""The key-value cache of a batch, and the few things that happen to it.

Rules. Rows are left padded: the real positions of row b are the last ``lengths[b]`` columns. So
the mask follows from the lengths, the newest position is the last column of every row, and a
cache can always be trimmed to its longest row. Caches are values: no function changes its input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from saccade.types import F32
from saccade_cloud.engines.base import I64

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Cache:
    """``arrays``: key and value of layer 0, of layer 1, …, each [B, H, P, d] float32.

    ``lengths``: [B] int64, real positions of each row, at most P. ``labels``: [B, 2, P] int64, of
    each column the position that a sliding window counts in, and the number of the block of visual
    tokens that it is of; 0: of none.
    """

    arrays: tuple[F32, ...]
    lengths: I64
    labels: I64

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def columns(self) -> int:
        return int(self.arrays[0].shape[2])

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


def empty(rows: int, *, layers: int, heads: int, head_dim: int) -> Cache:
    """``rows`` rows that have seen nothing yet."""
    arrays = tuple(np.zeros((rows, heads, 0, head_dim), np.float32) for _ in range(2 * layers))
    return Cache(arrays, np.zeros(rows, np.int64), np.zeros((rows, 2, 0), np.int64))


def mask(lengths: I64, columns: int) -> I64:
    """[B, columns] int64: 1 for the last ``lengths[b]`` columns of row b."""
    return (np.arange(columns) >= columns - lengths[:, None]).astype(np.int64)


def join(caches: Sequence[Cache]) -> Cache:
    """The rows of all ``caches``, in order, padded to the longest."""
    if len(caches) == 1:
        return caches[0]
    columns = max(cache.columns for cache in caches)
    layers = zip(*(cache.arrays for cache in caches), strict=True)
    arrays = tuple(np.concatenate([_widen(a, columns) for a in parts]) for parts in layers)
    labels = [_widen(cache.labels[..., None], columns)[..., 0] for cache in caches]
    lengths = np.concatenate([cache.lengths for cache in caches])
    return Cache(arrays, lengths, np.concatenate(labels))


def take(cache: Cache, rows: Sequence[int]) -> Cache:
    """Only ``rows`` of ``cache``, trimmed to the longest of them."""
    lengths = cache.lengths[list(rows)]
    start = cache.columns - int(lengths.max(initial=0))
    arrays = tuple(a[list(rows), :, start:] for a in cache.arrays)
    return Cache(arrays, lengths, cache.labels[list(rows), :, start:])


def first(cache: Cache, positions: int) -> Cache:
    """The first ``positions`` real positions of a cache with one row."""
    start = cache.columns - int(cache.lengths[0])
    real = slice(start, start + positions)
    arrays = tuple(a[:, :, real] for a in cache.arrays)
    return Cache(arrays, np.array([positions], np.int64), cache.labels[:, :, real])


def _widen(array: npt.NDArray[T], columns: int) -> npt.NDArray[T]:
    pad = columns - array.shape[2]
    return np.pad(array, ((0, 0), (0, 0), (pad, 0), (0, 0))) if pad else array
