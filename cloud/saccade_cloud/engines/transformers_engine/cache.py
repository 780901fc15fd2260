"""Keys and values of a batch as torch tensors, with the rules of ``engines/kv.py``: rows are left
padded, the real places of row b are the last ``lengths[b]`` columns, caches are values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers.cache_utils import Cache, DynamicLayer

from saccade_cloud.engines.base import I64


@dataclass(frozen=True, slots=True, eq=False)
class TorchCache:
    """``layers``: keys and values of each layer, [B, H, P, d]; none before anything was read.

    ``lengths``: [B] int64. ``places``: [B, P] int64, where each column counts for sliding windows.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    lengths: I64
    places: I64

    @property
    def columns(self) -> int:
        return int(self.places.shape[1])

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for layer in self.layers for tensor in layer) + self.places.nbytes

    def opened(self) -> Cache:
        """As transformers takes it. It replaces its tensors and changes none."""
        layers: list[Any] = []
        for keys, values in self.layers:
            layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]
            layers.append(layer)
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
        if not layers:
            return Cache(layer_class_to_replicate=DynamicLayer)
        return Cache(layers=layers)


def empty(rows: int) -> TorchCache:
    """``rows`` rows that have read nothing yet."""
    return TorchCache((), np.zeros(rows, np.int64), np.zeros((rows, 0), np.int64))


def read(cache: Any, lengths: I64, places: I64) -> TorchCache:  # noqa: ANN401 - see ``opened``
    """What transformers left in ``cache``."""
    layers = tuple((layer.keys, layer.values) for layer in cache.layers)
    return TorchCache(layers, lengths, places)


def join(caches: Sequence[TorchCache]) -> TorchCache:
    """The rows of all ``caches``, in order, padded to the longest."""
    if len(caches) == 1:
        return caches[0]
    columns = max(cache.columns for cache in caches)
    shapes = next((cache.layers for cache in caches if cache.layers), ())
    filled = [_filled(cache, shapes) for cache in caches]
    layers = tuple(
        (
            torch.cat([_widen(cache[number][0], columns) for cache in filled]),
            torch.cat([_widen(cache[number][1], columns) for cache in filled]),
        )
        for number in range(len(shapes))
    )
    places = [np.pad(c.places, ((0, 0), (columns - c.columns, 0))) for c in caches]
    lengths = np.concatenate([cache.lengths for cache in caches])
    return TorchCache(layers, lengths, np.concatenate(places))


def take(cache: TorchCache, rows: Sequence[int]) -> TorchCache:
    """Only ``rows`` of ``cache``, trimmed to the longest of them."""
    chosen = list(rows)
    lengths = cache.lengths[chosen]
    start = cache.columns - int(lengths.max(initial=0))
    layers = tuple((k[chosen, :, start:], v[chosen, :, start:]) for k, v in cache.layers)
    return TorchCache(layers, lengths, cache.places[chosen, start:])


def first(cache: TorchCache, places: int) -> TorchCache:
    """The first ``places`` real places of a cache with one row."""
    start = cache.columns - int(cache.lengths[0])
    part = slice(start, start + places)
    layers = tuple((k[:, :, part], v[:, :, part]) for k, v in cache.layers) if places else ()
    return TorchCache(layers, np.array([places], np.int64), cache.places[:, part])


Layers = tuple[tuple[Tensor, Tensor], ...]


def _filled(cache: TorchCache, like: Layers) -> Layers:
    """The cache's layers; where it has read nothing yet, layers without columns."""
    if cache.layers:
        return cache.layers
    rows = len(cache.lengths)
    return tuple((_no_columns(k, rows), _no_columns(v, rows)) for k, v in like)


def _no_columns(like: Tensor, rows: int) -> Tensor:
    return like.new_zeros((rows, like.shape[1], 0, like.shape[3]))


def _widen(tensor: Tensor, columns: int) -> Tensor:
    pad = columns - tensor.shape[2]
    return functional.pad(tensor, (0, 0, pad, 0)) if pad else tensor
