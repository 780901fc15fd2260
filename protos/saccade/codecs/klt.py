"""`klt`: a calibrated orthonormal transform and uniform quantisers, for any frozen encoder.

Components of the Karhunen-Loeve transform are quantised with one step, and those whose variance
the step exceeds are not sent: reverse water-filling (Cover and Thomas, 10.3.3). Each layer has a
third of the step of the one before, so the number of layers is the operating point. Levels are
entropy-coded with the frequencies of the calibration; the base layer begins with the ids.

All products are of integers that float64 holds exactly (see `klt_table`), and the rest is single
IEEE operations: encoder and decoder give the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.codecs import rans
from saccade.codecs.base import SetShape, check_width, prefix, stack, unstack
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.codecs.klt_levels import I64, MAX_LEVEL, FinerLevels, FirstLevels, coarser
from saccade.codecs.klt_table import UNIT_BITS, KltTable
from saccade.errors import CodecError
from saccade.types import F32, TokenSet, ViewKind

_FRACTION_BITS = 6  # features enter the transform in 1/64 of the last layer's step
_REACH = float(MAX_LEVEL >> _FRACTION_BITS)  # steps that a feature may be away from the mean


class Klt:
    """Absolute error of each component at most half the step of the layers that are there, and
    the whole component where none codes it.
    """

    name = "klt"
    wire_id = 2

    def __init__(self, table: KltTable) -> None:
        self.table = table
        self._layers = [(FirstLevels(a), FinerLevels(b)) for a, b in table.layers]
        self._basis = table.basis.astype(np.float64)

    @classmethod
    def from_bytes(cls, data: bytes) -> Klt:
        """From a table's file. Raises BundleError."""
        return cls(KltTable.from_bytes(data))

    @property
    def dim(self) -> int:
        return self.table.dim

    @property
    def most_layers(self) -> int:
        return len(self._layers)

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]:
        shapes = [SetShape.of(tokens) for tokens in sets]
        check_width(shapes, self)
        levels = self.levels(stack(sets))
        streams = []
        wanted = layers or len(self._layers)
        for number, (first, finer) in reversed(list(enumerate(self._layers))):
            if number < wanted:
                new, refined = first.slots(levels), finer.slots(levels)
                streams.append(rans.encode(new[0] + refined[0], new[1] + refined[1]))
            levels = coarser(levels)
        ids = encode_ids([tokens.ids for tokens in sets], shapes)
        return (ids + streams[-1], *streams[-2::-1])

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        prefix(layers, len(self._layers), self.name)
        tokens = check_width(shapes, self)
        ids, start = decode_ids(layers[0], shapes)
        levels = np.zeros((tokens, self.dim), np.int64)
        for layer, (first, finer) in zip(layers, self._layers, strict=False):
            decoder = rans.Decoder(layer[start:])
            start = 0  # only the base layer begins with the ids
            first.read(decoder, levels)
            finer.read(decoder, levels)
            decoder.finish()
        return unstack(self._features(levels, len(layers)), ids, shapes)

    def levels(self, features: F32) -> I64:
        """[K, D] levels of the last layer's step. Raises CodecError for features out of range."""
        steps = (features.astype(np.float64) - self.table.mean) / self.table.step
        if np.max(np.abs(steps), initial=0.0) > _REACH:
            raise CodecError(
                f"a feature of magnitude {np.max(np.abs(features)):g}, {self.name} reaches "
                f"{_REACH * self.table.step:g} around the mean"
            )
        components = np.rint(np.ldexp(steps, _FRACTION_BITS)) @ self._basis.T
        levels = np.rint(np.ldexp(components, -_FRACTION_BITS - UNIT_BITS))
        return np.asarray(levels, np.int64)

    def _features(self, levels: I64, layers: int) -> F32:
        if np.max(np.abs(levels), initial=0) > MAX_LEVEL:
            raise CodecError(f"a level beyond {MAX_LEVEL}")
        units = levels.astype(np.float64) @ self._basis
        scale = np.ldexp(self.table.step_of(layers), -UNIT_BITS)
        return np.asarray(units * scale + self.table.mean, np.float32)
