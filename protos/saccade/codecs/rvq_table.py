"""The codebooks of `rvq` and how often their entries are used, as `codec/rvq.bin` holds them.

Layout, little-endian: the magic; uint32 P, stages, stages per layer; int32 shift; uint32 T, uint16
[3, 8, T] shares of places kept (see `position_model`; T is 0 where none are known); for each stage
uint32 E, int32 [E, P] entries, uint16 [3, E + 1] frequencies by kind of view: of the entries, and
of "the same as the token before". An entry's unit is 2^-shift of a feature.

Codebooks of wide tokens are of their P principal components: a search among 8,192 entries of 1,024
features takes longer than a frame may. Such a table has a magic of its own and, behind it, uint32
D, int32 [D] mean in the same unit, uint32 P and int32 [P, D] orthonormal rows in units of 2^-20.
Else P is D.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import MAX_SYMBOLS, Frequencies
from saccade.codecs.klt_table import UNIT_BITS, check_basis
from saccade.codecs.nearest import Nearest
from saccade.codecs.position_model import BUCKETS, MAX_PLACES, PlaceModel
from saccade.codecs.table_file import Data, TableReader, TableWriter
from saccade.errors import BundleError, CodecError
from saccade.types import I32, VIEW_KINDS

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

MAGIC = b"SACRVQ2\0"
PROJECTED_MAGIC = b"SACRVQ3\0"
MAX_DIM = 4096
MAX_STAGES = 16
MAX_ENTRIES = MAX_SYMBOLS - 1
MAX_SHIFT = 60
# Entries and features are bounded so that every sum in a search stays below 2^53, where float64
# holds integers exactly: 2 * 4096 * 2^16 * (2^20 + 16 * 2^16) = 2^50.
MAX_ENTRY = 1 << 16
MAX_FEATURE = 1 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """``entries``: [E, D] int32; ``frequencies``, one for each kind of view, of E + 1 symbols: the
    last one says that a token has the entry of the token before.
    """

    entries: I32
    frequencies: tuple[Frequencies, ...]

    def search(self, residuals: npt.NDArray[np.float64]) -> I64:
        """As `Nearest`, which is to be kept where a stage is searched often."""
        return Nearest(self.entries)(residuals)

    def symbols(self, indexes: I64) -> I64:
        """Entries' indexes [K] as they are coded."""
        coded = indexes.copy()
        coded[1:][indexes[1:] == indexes[:-1]] = len(self.entries)
        return np.asarray(coded, np.int64)

    def indexes(self, symbols: I64) -> I64:
        """What `symbols` was given. Raises CodecError for symbols that it doesn't give."""
        same = symbols == len(self.entries)
        if np.any(same[:1]):
            raise CodecError("the first token is coded as the one before it")
        found: I64 = symbols[np.maximum.accumulate(np.where(same, 0, np.arange(len(symbols))))]
        if np.any((found[1:] == found[:-1]) & ~same[1:]):
            raise CodecError("a token like the one before it that isn't coded so")
        return found


@dataclass(frozen=True, slots=True)
class Projection:
    """``mean``: [D] int32, in the units of entries; ``basis``: [P, D] int32, orthonormal rows in
    units of 2^-20. Sums are of integers that float64 holds, as those of `klt`.
    """

    mean: I32
    basis: I32

    def components(self, units: F64) -> F64:
        """[K, D] whole numbers to [K, P] whole numbers."""
        wide = (units - self.mean) @ self.basis.T.astype(np.float64)
        wide *= 2.0**-UNIT_BITS
        return np.asarray(np.rint(wide, out=wide), np.float64)

    def features(self, components: I32) -> F64:
        """[K, P] whole numbers to [K, D], in units, exact."""
        wide: F64 = components.astype(np.float64) @ self.basis.astype(np.float64)
        wide *= 2.0**-UNIT_BITS
        wide += self.mean
        return wide


@dataclass(frozen=True, slots=True)
class RvqTable:
    """``shift``: a feature of 1 is 2^shift units; ``per_layer``: stages in each layer."""

    stages: tuple[Stage, ...]
    shift: int
    per_layer: int
    places: PlaceModel
    projection: Projection | None = None

    @property
    def dim(self) -> int:
        """Features per token."""
        return self.rank if self.projection is None else len(self.projection.mean)

    @property
    def rank(self) -> int:
        """Numbers in an entry."""
        return int(self.stages[0].entries.shape[1])

    @property
    def layers(self) -> tuple[tuple[Stage, ...], ...]:
        """Stages by layer, base layer first."""
        starts = range(0, len(self.stages), self.per_layer)
        return tuple(self.stages[i : i + self.per_layer] for i in starts)

    def to_bytes(self) -> bytes:
        writer = TableWriter(MAGIC if self.projection is None else PROJECTED_MAGIC)
        if self.projection is not None:
            writer.put("<u4", self.dim)
            writer.put("<i4", self.projection.mean)
            writer.put("<u4", self.rank)
            writer.put("<i4", self.projection.basis)
        writer.put("<u4", [self.rank, len(self.stages), self.per_layer])
        writer.put("<i4", self.shift)
        writer.put("<u4", self.places.places)
        writer.put("<u2", self.places.widths)
        for stage in self.stages:
            writer.put("<u4", len(stage.entries))
            writer.put("<i4", stage.entries)
            for frequencies in stage.frequencies:
                writer.frequencies(frequencies)
        return writer.to_bytes()

    @classmethod
    def from_bytes(cls, data: Data) -> RvqTable:
        """Raises BundleError for anything but this layout."""
        projected = bytes(data[: len(MAGIC)]) == PROJECTED_MAGIC
        reader = TableReader(data, PROJECTED_MAGIC if projected else MAGIC)
        projection = _read_projection(reader) if projected else None
        rank = MAX_DIM if projection is None else len(projection.basis)
        dim = reader.number("<u4", 1 if projection is None else rank, rank, "features")
        stages = reader.number("<u4", 1, MAX_STAGES, "stages")
        per_layer = reader.number("<u4", 1, stages, "stages per layer")
        shift = reader.number("<i4", -MAX_SHIFT, MAX_SHIFT, "shift")
        places = _read_places(reader)
        table = cls(
            tuple(_read_stage(reader, dim) for _ in range(stages)),
            shift,
            per_layer,
            places,
            projection,
        )
        reader.finish()
        return table


def _read_projection(reader: TableReader) -> Projection:
    dim = reader.number("<u4", 1, MAX_DIM, "features")
    mean = reader.take("<i4", dim).astype(np.int32, copy=False)
    rank = reader.number("<u4", 1, dim, "components")
    basis = reader.take("<i4", rank, dim).astype(np.int32, copy=False)
    check_basis(basis)
    if np.abs(mean.astype(np.int64)).max() > MAX_FEATURE:
        raise BundleError(f"a codec table whose mean is beyond {MAX_FEATURE} units")
    return Projection(mean, basis)


def _read_places(reader: TableReader) -> PlaceModel:
    count = reader.number("<u4", 0, MAX_PLACES, "places")
    try:
        return PlaceModel.of(reader.take("<u2", len(VIEW_KINDS), BUCKETS, count))
    except ValueError as error:
        raise BundleError(f"a codec table with {error}") from error


def _read_stage(reader: TableReader, dim: int) -> Stage:
    count = reader.number("<u4", 2, MAX_ENTRIES, "entries")
    entries = reader.take("<i4", count, dim).astype(np.int32, copy=False)
    peak = int(np.abs(entries.astype(np.int64)).max())
    if peak > MAX_ENTRY:
        raise BundleError(f"a codebook entry of magnitude {peak}, at most {MAX_ENTRY} is possible")
    return Stage(entries, tuple(reader.frequencies(count + 1) for _ in VIEW_KINDS))
