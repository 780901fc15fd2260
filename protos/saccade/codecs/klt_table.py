"""The transform of `klt`, its step and its frequencies, as `codec/klt.bin` holds them.

Layout, little-endian: the magic; uint32 D, layers; float64 step of the last layer; float32 [D]
mean; int32 [D, D] basis, a component per row, in units of 2^-20; uint8 [D] the first layer that
codes each component (= layers: none does); then for each layer the frequencies of the components
that it codes for the first time, each as uint16 reach R and uint16 [2 R + 2] (levels -R..R, then
the escape), and of those that it refines, uint16 [3, 3] (level so far below 0, 0, above 0; then
the refinement -1, 0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.table_file import Data, TableReader, TableWriter
from saccade.errors import BundleError
from saccade.types import F32, I32

MAGIC = b"SACKLT1\0"
MAX_DIM = 4096
MAX_LAYERS = 8
MAX_REACH = 255
UNIT_BITS = 20  # the basis' unit is 2^-20
# An orthonormal row or column of D <= 2^12 numbers has at most 2^6 in sum, 2^26 units. With levels
# up to 2^26 every sum of a transform is an integer below 2^53, which float64 holds exactly, in
# whatever order a machine adds.
MAX_SUM = int(2**26.5)
_AT_ONCE = 256  # rows of a basis


@dataclass(frozen=True, slots=True)
class FirstTables:
    """Of the components that a layer codes first. ``dims``: [N]; ``tables[i]`` of levels
    -reach..reach and the escape.
    """

    dims: npt.NDArray[np.int64]
    tables: tuple[Frequencies, ...]

    @property
    def reaches(self) -> npt.NDArray[np.int64]:
        return np.array([len(table.widths) // 2 - 1 for table in self.tables], np.int64)


@dataclass(frozen=True, slots=True)
class FinerTables:
    """Of the components that a layer refines. ``tables[i]``: one for each sign of the level."""

    dims: npt.NDArray[np.int64]
    tables: tuple[tuple[Frequencies, ...], ...]


@dataclass(frozen=True, slots=True)
class KltTable:
    """``step`` of the last layer; ``mean``: [D] float32; ``basis``: [D, D] int32, orthonormal rows;
    ``layers``: what each layer codes first and what it refines.
    """

    step: float
    mean: F32
    basis: I32
    layers: tuple[tuple[FirstTables, FinerTables], ...]

    @property
    def dim(self) -> int:
        """Features per token."""
        return len(self.mean)

    def step_of(self, layers: int) -> float:
        """The step when only so many layers are there: three times wider for each that is not."""
        return float(self.step * 3 ** (len(self.layers) - layers))

    def to_bytes(self) -> bytes:
        first = np.full(self.dim, len(self.layers), np.uint8)
        for number, (fresh, _) in enumerate(self.layers):
            first[fresh.dims] = number
        writer = TableWriter(MAGIC)
        writer.put("<u4", [self.dim, len(self.layers)])
        writer.put("<f8", self.step)
        writer.put("<f4", self.mean)
        writer.put("<i4", self.basis)
        writer.put("u1", first)
        for fresh, finer in self.layers:
            for reach, table in zip(fresh.reaches.tolist(), fresh.tables, strict=True):
                writer.put("<u2", reach)
                writer.frequencies(table)
            for tables in finer.tables:
                for table in tables:
                    writer.frequencies(table)
        return writer.to_bytes()

    @classmethod
    def from_bytes(cls, data: Data) -> KltTable:
        """Raises BundleError for anything but this layout."""
        reader = TableReader(data, MAGIC)
        dim = reader.number("<u4", 1, MAX_DIM, "features")
        count = reader.number("<u4", 1, MAX_LAYERS, "layers")
        step = reader.number("<f8", 2.0**-60, 2.0**60, "step")
        mean = reader.take("<f4", dim).astype(np.float32)
        if not np.all(np.abs(mean) < 2.0**60):  # also where one isn't a number
            raise BundleError("a codec table whose mean is not finite")
        basis = reader.take("<i4", dim, dim).astype(np.int32, copy=False)
        check_basis(basis)
        first = reader.take("u1", dim).astype(np.int64)
        if first.max() > count:
            raise BundleError(f"a component first coded in layer {first.max()} of {count}")
        layers = tuple(
            (_read_first(reader, first, layer), _read_finer(reader, first, layer))
            for layer in range(count)
        )
        reader.finish()
        return cls(step, mean, basis, layers)


def check_basis(basis: I32) -> None:
    """Rows of length 1, to a thousandth, and sums that stay exact. Raises BundleError."""
    lengths, columns, largest = [], np.zeros(basis.shape[1]), 0.0
    for start in range(0, len(basis), _AT_ONCE):  # a wide basis is large
        units = np.abs(basis[start : start + _AT_ONCE].astype(np.float64))
        lengths.append(np.sqrt(np.einsum("ij,ij->i", units, units)) / (1 << UNIT_BITS))
        columns += units.sum(axis=0)
        largest = max(largest, float(units.sum(axis=1).max()))
    sizes = np.concatenate(lengths)
    if np.any(np.abs(sizes - 1) > 1e-3) or max(largest, columns.max()) > MAX_SUM:
        raise BundleError(
            f"a codec table's basis is not orthonormal: rows of length {sizes.min():.3g} to "
            f"{sizes.max():.3g}"
        )


def _read_first(reader: TableReader, first: npt.NDArray[np.int64], layer: int) -> FirstTables:
    dims = np.flatnonzero(first == layer)
    tables = []
    for _ in dims:
        reach = reader.number("<u2", 0, MAX_REACH, "reach")
        tables.append(reader.frequencies(2 * reach + 2))
    return FirstTables(dims, tuple(tables))


def _read_finer(reader: TableReader, first: npt.NDArray[np.int64], layer: int) -> FinerTables:
    dims = np.flatnonzero(first < layer)
    return FinerTables(dims, tuple(tuple(reader.frequencies(3) for _ in range(3)) for _ in dims))
