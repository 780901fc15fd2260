"""Levels of a transform's components to slots of the entropy coder and back, layer by layer.

A component is coded in one layer for the first time (`FirstLevels`), and refined in every later
one (`FinerLevels`): each step is a third of the one before, so that a level's three refinements
share its interval and 0 stays 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.klt_table import FinerTables, FirstTables
from saccade.codecs.rans import Decoder
from saccade.errors import CodecError

I64 = npt.NDArray[np.int64]
Slots = tuple[list[int], list[int]]  # starts and widths, as the entropy coder takes them

MAX_LEVEL = 1 << 26
_ESCAPE_BYTES = 4
_BYTE = Frequencies.of([256] * 256)


def coarser(levels: I64) -> I64:
    """The levels of the step that is three times as wide, exactly."""
    return (levels + 1) // 3


class FirstLevels:
    """Component after component; then the levels beyond a table's reach, four bytes each."""

    def __init__(self, tables: FirstTables) -> None:
        self._dims, self._tables, self._reaches = tables.dims, tables.tables, tables.reaches
        self._starts = _padded([table.starts for table in tables.tables])
        self._widths = _padded([table.widths for table in tables.tables])

    def slots(self, levels: I64) -> Slots:
        """``levels``: [K, D] of this layer's step."""
        mine = levels[:, self._dims].T
        reach = self._reaches[:, None]
        beyond = np.abs(mine) > reach
        symbols = np.where(beyond, 2 * reach + 1, mine + reach)
        rows = np.arange(len(self._dims))[:, None]
        escaped = mine[beyond].astype("<i4").tobytes()
        starts = self._starts[rows, symbols].ravel().tolist() + [256 * byte for byte in escaped]
        return starts, self._widths[rows, symbols].ravel().tolist() + [256] * len(escaped)

    def read(self, decoder: Decoder, levels: I64) -> None:
        """Fill in this layer's components of ``levels`` [K, D]."""
        count = len(levels)
        read = [decoder.take(table, count) for table in self._tables]
        symbols = np.array(read, np.int64).reshape(len(self._dims), count)
        reach = self._reaches[:, None]
        beyond = symbols == 2 * reach + 1
        mine = symbols - reach
        escaped = decoder.take(_BYTE, _ESCAPE_BYTES * int(np.count_nonzero(beyond)))
        mine[beyond] = np.frombuffer(bytes(escaped), "<i4")
        if np.any(np.abs(mine[beyond]) > MAX_LEVEL) or np.any((np.abs(mine) <= reach) & beyond):
            raise CodecError("an escaped level that needs no escape, or that is out of range")
        levels[:, self._dims] = mine.T


class FinerLevels:
    """Component after component: first of the levels below 0, then of those at 0, then above."""

    def __init__(self, tables: FinerTables) -> None:
        self._dims, self._tables = tables.dims, tables.tables
        self._starts = np.array([[t.starts for t in ts] for ts in tables.tables], np.int64)
        self._widths = np.array([[t.widths for t in ts] for ts in tables.tables], np.int64)

    def slots(self, levels: I64) -> Slots:
        """``levels``: [K, D] of this layer's step."""
        mine = levels[:, self._dims].T
        if not mine.size:
            return [], []
        before = coarser(mine)
        signs = np.sign(before) + 1
        by_sign = np.argsort(signs, axis=1, kind="stable")
        refined = np.take_along_axis(mine - 3 * before + 1, by_sign, axis=1)
        signs = np.take_along_axis(signs, by_sign, axis=1)
        rows = np.arange(len(self._dims))[:, None]
        starts = self._starts[rows, signs, refined].ravel().tolist()
        return starts, self._widths[rows, signs, refined].ravel().tolist()

    def read(self, decoder: Decoder, levels: I64) -> None:
        """Make this layer's components of ``levels`` [K, D] three times as fine."""
        before = levels[:, self._dims].T
        if not before.size:
            return
        signs = np.sign(before) + 1
        refined: list[int] = []
        for tables, row in zip(self._tables, signs, strict=True):
            for table, count in zip(tables, np.bincount(row, minlength=3).tolist(), strict=True):
                refined += decoder.take(table, count)
        by_sign = np.argsort(signs, axis=1, kind="stable")
        steps = np.empty_like(before)
        np.put_along_axis(steps, by_sign, np.array(refined).reshape(steps.shape), axis=1)
        levels[:, self._dims] = (3 * before + steps - 1).T


def _padded(rows: list[tuple[int, ...]]) -> I64:
    """[N, longest] int64, zeros where a row is shorter."""
    table = np.zeros((len(rows), max(map(len, rows), default=0)), np.int64)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
