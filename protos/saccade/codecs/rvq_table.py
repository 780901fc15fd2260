"""The codebooks of `rvq` and how often their entries are used, as `codec/rvq.bin` holds them.

Layout, little-endian: the magic; uint32 D, stages, stages per layer; int32 shift; uint32 T, uint16
[3, 8, T] shares of places kept (see `places`; T is 0 where none are known); for each stage uint32
E, int32 [E, D] entries, uint16 [3, E + 1] frequencies by kind of view: of the entries, and of "the
same as the token before". An entry's unit is 2^-shift of a feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import MAX_SYMBOLS, Frequencies
from saccade.codecs.nearest import Nearest
from saccade.codecs.position_model import BUCKETS, MAX_PLACES, PlaceModel
from saccade.codecs.table_file import TableReader, TableWriter
from saccade.errors import BundleError, CodecError
from saccade.types import I32, VIEW_KINDS

I64 = npt.NDArray[np.int64]

MAGIC = b"SACRVQ2\0"
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
class RvqTable:
    """``shift``: a feature of 1 is 2^shift units; ``per_layer``: stages in each layer."""

    stages: tuple[Stage, ...]
    shift: int
    per_layer: int
    places: PlaceModel

    @property
    def dim(self) -> int:
        """Features per token."""
        return int(self.stages[0].entries.shape[1])

    @property
    def layers(self) -> tuple[tuple[Stage, ...], ...]:
        """Stages by layer, base layer first."""
        starts = range(0, len(self.stages), self.per_layer)
        return tuple(self.stages[i : i + self.per_layer] for i in starts)

    def to_bytes(self) -> bytes:
        writer = TableWriter(MAGIC)
        writer.put("<u4", [self.dim, len(self.stages), self.per_layer])
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
    def from_bytes(cls, data: bytes) -> RvqTable:
        """Raises BundleError for anything but this layout."""
        reader = TableReader(data, MAGIC)
        dim = reader.number("<u4", 1, MAX_DIM, "features")
        stages = reader.number("<u4", 1, MAX_STAGES, "stages")
        per_layer = reader.number("<u4", 1, stages, "stages per layer")
        shift = reader.number("<i4", -MAX_SHIFT, MAX_SHIFT, "shift")
        places = _read_places(reader)
        table = cls(
            tuple(_read_stage(reader, dim) for _ in range(stages)), shift, per_layer, places
        )
        reader.finish()
        return table


def _read_places(reader: TableReader) -> PlaceModel:
    count = reader.number("<u4", 0, MAX_PLACES, "places")
    try:
        return PlaceModel.of(reader.take("<u2", len(VIEW_KINDS), BUCKETS, count))
    except ValueError as error:
        raise BundleError(f"a codec table with {error}") from error


def _read_stage(reader: TableReader, dim: int) -> Stage:
    count = reader.number("<u4", 2, MAX_ENTRIES, "entries")
    entries = reader.take("<i4", count, dim).astype(np.int32)
    peak = int(np.abs(entries.astype(np.int64)).max())
    if peak > MAX_ENTRY:
        raise BundleError(f"a codebook entry of magnitude {peak}, at most {MAX_ENTRY} is possible")
    return Stage(entries, tuple(reader.frequencies(count + 1) for _ in VIEW_KINDS))
