"""`klt`: a calibrated orthonormal transform and uniform quantisers, for any frozen encoder.

Components of the Karhunen-Loeve transform are quantised with one step, and those whose variance
the step exceeds are not sent: reverse water-filling (Cover and Thomas, 10.3.3). Each layer has a
third of the step of the one before, so the number of layers is the operating point. Levels are
entropy-coded with the frequencies of the calibration; the base layer begins with the ids. Layers of
many symbols are coded by `interleaved`.

All products are of integers that float64 holds exactly (see `klt_table`), and the rest is single
IEEE operations: encoder and decoder give the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from saccade.codecs import interleaved, rans
from saccade.codecs.base import SetShape, check_width, prefix, stack, unstack
from saccade.codecs.frequencies import Frequencies
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.codecs.klt_levels import I64, MAX_LEVEL, FinerLevels, FirstLevels, coarser
from saccade.codecs.klt_table import UNIT_BITS, KltTable
from saccade.codecs.table_file import Data
from saccade.errors import CodecError
from saccade.types import F32, TokenSet, ViewKind

F64 = npt.NDArray[np.float64]

_FRACTION_BITS = 6  # features enter the transform in 1/64 of the last layer's step
_REACH = float(MAX_LEVEL >> _FRACTION_BITS)  # steps that a feature may be away from the mean
_BYTE = Frequencies.of([256] * 256)


class Klt:
    """Absolute error of each component at most half the step of the layers that are there, and
    the whole component where none codes it.
    """

    name = "klt"
    wire_id = 2

    def __init__(self, table: KltTable) -> None:
        self.table = table
        self._layers = [_Layer(FirstLevels(a), FinerLevels(b)) for a, b in table.layers]
        # Components by the first layer that codes them, and how many the first n layers have.
        self._coded = np.concatenate([np.zeros(0, np.int64), *(a.dims for a, _ in table.layers)])
        self._counts = np.cumsum([len(a.dims) for a, _ in table.layers]).tolist()
        self._basis: F64 | None = None

    @classmethod
    def from_bytes(cls, data: Data) -> Klt:
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
        wanted = min(layers or len(self._layers), len(self._layers))
        levels = self._levels(stack(sets), self._rows(wanted))
        streams = []
        for number in range(len(self._layers) - 1, -1, -1):
            if number < wanted:
                streams.append(self._layers[number].write(levels))
            if number:
                levels = coarser(levels)
        ids = encode_ids([tokens.ids for tokens in sets], shapes)
        return (ids + streams[-1], *streams[-2::-1])

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        prefix(layers, len(self._layers), self.name)
        tokens = check_width(shapes, self)
        ids, start = decode_ids(layers[0], shapes)
        levels = np.zeros((self.dim, tokens), np.int64)
        for layer, reader in zip(layers, self._layers, strict=False):
            reader.read(layer[start:], levels)
            start = 0  # only the base layer begins with the ids
        return unstack(self._features(levels, len(layers)), ids, shapes)

    def levels(self, features: F32) -> I64:
        """[K, D] levels of the last layer's step. Raises CodecError for features out of range."""
        levels = self._levels(features, np.arange(self.dim))
        return np.asarray(levels.T, np.int64)

    def _levels(self, features: F32, rows: I64) -> I64:
        """[D, K] levels of the components ``rows``, zeros for all others."""
        steps = features.T.astype(np.float64)
        steps -= self.table.mean[:, None]
        steps /= self.table.step
        if max(steps.max(initial=0.0), -steps.min(initial=0.0)) > _REACH:
            raise CodecError(
                f"a feature of magnitude {np.max(np.abs(features)):g}, {self.name} reaches "
                f"{_REACH * self.table.step:g} around the mean"
            )
        steps *= 2.0**_FRACTION_BITS
        components = self._basis_of(rows) @ np.rint(steps, out=steps)
        components *= 2.0 ** (-_FRACTION_BITS - UNIT_BITS)
        levels = np.zeros((self.dim, len(features)), np.int64)
        levels[rows] = np.rint(components, out=components)
        return levels

    def _features(self, levels: I64, layers: int) -> F32:
        rows = self._rows(layers)
        mine = levels[rows]
        if max(mine.max(initial=0), -mine.min(initial=0)) > MAX_LEVEL:
            raise CodecError(f"a level beyond {MAX_LEVEL}")
        units = mine.T.astype(np.float64) @ self._basis_of(rows)
        units *= np.ldexp(self.table.step_of(layers), -UNIT_BITS)
        units += self.table.mean
        return np.asarray(units, np.float32)

    def _rows(self, layers: int) -> I64:
        """The components that the first ``layers`` code, ascending."""
        return np.sort(self._coded[: self._counts[layers - 1]])

    def _basis_of(self, rows: I64) -> F64:
        """[n, D], in units of 2^-20. Wide tables are opened without it."""
        if self._basis is None:
            self._basis = self.table.basis.astype(np.float64)
        # The usual components are the first ones: no copy.
        return self._basis[: len(rows)] if rows[-1:] == len(rows) - 1 else self._basis[rows]


class _Layer:
    """One layer's stream: what it codes first, what it refines, and levels that are escaped.

    Escapes stand between the two where one state codes the layer, else behind both.
    """

    def __init__(self, first: FirstLevels, finer: FinerLevels) -> None:
        self._first, self._finer = first, finer
        self._known_tables: interleaved.Tables | None = None

    def write(self, levels: I64) -> bytes:
        """``levels``: [D, K] of this layer's step."""
        fresh, beyond = self._first.symbols(levels)
        numbers, refined = self._finer.symbols(levels)
        tables = self._numbers(levels.shape[1], numbers)
        starts, widths = self._tables().slots(tables, np.concatenate([fresh, refined]))
        known = len(starts)
        if beyond:
            at = len(fresh) if interleaved.states_for(known) == 1 else known
            slots = np.frombuffer(beyond, np.uint8).astype(np.int64) << 8
            starts = np.concatenate([starts[:at], slots, starts[at:]])
            widths = np.concatenate([widths[:at], np.full(len(slots), 256), widths[at:]])
        return interleaved.encode(starts, widths, known)

    def read(self, data: bytes, levels: I64) -> None:
        """Fill in and refine ``levels`` [D, K]. Raises CodecError."""
        numbers = self._numbers(levels.shape[1], self._finer.numbers(levels))
        fresh = len(self._first.tables) * levels.shape[1]
        tables = self._tables()
        if interleaved.states_for(len(numbers)) == 1:
            decoder = rans.Decoder(data)
            new = interleaved.take(decoder, tables.single, numbers[:fresh])
            escaped = decoder.take(_BYTE, self._first.escaped(new))
            refined = interleaved.take(decoder, tables.single, numbers[fresh:])
        else:
            symbols, decoder = interleaved.decode(data, tables, numbers)
            new, refined = symbols[:fresh], symbols[fresh:]
            escaped = decoder.take(_BYTE, self._first.escaped(new))
        decoder.finish()
        self._first.fill(levels, new, bytes(escaped))
        self._finer.fill(levels, refined)

    def _numbers(self, tokens: int, finer: I64) -> I64:
        """The tables of all known symbols; those of refinements come after those of new levels."""
        return np.concatenate([self._first.numbers(tokens), finer + len(self._first.tables)])

    def _tables(self) -> interleaved.Tables:
        """Made when first used: a wide table has thousands."""
        if self._known_tables is None:
            self._known_tables = interleaved.Tables.of((*self._first.tables, *self._finer.tables))
        return self._known_tables
