"""Tables for the calibrated codecs that need no calibration: the same numbers on every machine."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from saccade.codecs import Codec, Codecs
from saccade.codecs.f16 import F16
from saccade.codecs.f32 import F32Codec
from saccade.codecs.frequencies import Frequencies
from saccade.codecs.int8z import Int8z
from saccade.codecs.klt import Klt
from saccade.codecs.klt_table import UNIT_BITS, FinerTables, FirstTables, KltTable
from saccade.codecs.position_model import BUCKETS, PlaceModel
from saccade.codecs.rvq import Rvq
from saccade.codecs.rvq_table import Projection, RvqTable, Stage
from saccade.types import I32, VIEW_KINDS
from saccade_testing.tokens import DIM

STEP = 1 / 64
REACH = 6


def klt_table(dim: int = DIM, layers: int = 3) -> KltTable:
    """A Hadamard transform (``dim`` a power of two) that codes every component in the end."""
    first = np.arange(dim) * layers // dim
    tables = tuple(
        (_first(np.flatnonzero(first == n)), _finer(np.flatnonzero(first < n)))
        for n in range(layers)
    )
    mean = (np.arange(dim) / 8).astype(np.float32)
    return KltTable(STEP, mean, _hadamard(dim), tables)


def rvq_table(dim: int = DIM, stages: int = 4, entries: int = 16, per_layer: int = 2) -> RvqTable:
    """Entries that grow smaller from stage to stage; entry 0 of each is 0. A unit is 1/64.

    Each kind of view has its own shares; places of an 8 x 8 grid are likelier the later they are.
    """
    book = np.arange(entries * dim).reshape(entries, dim)
    scattered = (book * 7919 + 104729) % 509 - 254
    scattered[0] = 0
    usage = tuple(
        Frequencies.fit([*range(entries, 0, -1), entries * (entries + 1) // (2 + kind)])
        for kind in range(len(VIEW_KINDS))
    )
    books = ((scattered >> stage).astype(np.int32) for stage in range(stages))
    stages_of = tuple(Stage(entries, usage) for entries in books)
    return RvqTable(stages_of, 6, per_layer, place_model())


def projected_table(dim: int = DIM, rank: int = 8) -> RvqTable:
    """`rvq_table` for the first ``rank`` components of a Hadamard transform."""
    mean = (np.arange(dim) % 7).astype(np.int32)
    projection = Projection(mean, np.ascontiguousarray(_hadamard(dim)[:rank]))
    return dataclasses.replace(rvq_table(rank), projection=projection)


def place_model() -> PlaceModel:
    """The more is left to keep and the later a place comes, the likelier it is kept."""
    kinds, buckets, places = np.meshgrid(
        range(len(VIEW_KINDS)), range(BUCKETS), range(64), indexing="ij"
    )
    return PlaceModel.of(1000 + 7000 * buckets + 100 * places + 500 * kinds)


def every_codec(dim: int = DIM) -> Codecs:
    """All that there are, calibrated ones with the tables above."""
    codecs: list[Codec] = [F16(), Int8z(), F32Codec(), Klt(klt_table(dim)), Rvq(rvq_table(dim))]
    return Codecs(codecs)


def _hadamard(dim: int) -> I32:
    rows = np.array([[1]])
    while len(rows) < dim:
        rows = np.block([[rows, rows], [rows, -rows]])
    return np.asarray(np.rint(rows * 2.0**UNIT_BITS / np.sqrt(dim)), np.int32)


def _first(dims: npt.NDArray[np.int64]) -> FirstTables:
    shares = [1 << 10 - abs(level) for level in range(-REACH, REACH + 1)]
    return FirstTables(dims, tuple(Frequencies.fit([*shares, 1]) for _ in dims))


def _finer(dims: npt.NDArray[np.int64]) -> FinerTables:
    by_sign = tuple(Frequencies.fit(shares) for shares in ([2, 3, 4], [1, 4, 1], [4, 3, 2]))
    return FinerTables(dims, tuple(by_sign for _ in dims))
