"""Levels of a transform's components to symbols of the entropy coder and back, layer by layer.

A component is coded in one layer for the first time (`FirstLevels`), and refined in every later
one (`FinerLevels`): each step is a third of the one before, so that a level's three refinements
share its interval and 0 stays 0. ``levels`` are [D, K] here: a component's in one piece.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.klt_table import FinerTables, FirstTables
from saccade.errors import CodecError

I64 = npt.NDArray[np.int64]

MAX_LEVEL = 1 << 26
ESCAPE_BYTES = 4
_SIGNS = 3


def coarser(levels: I64) -> I64:
    """The levels of the step that is three times as wide, exactly."""
    return (levels + 1) // 3


class FirstLevels:
    """Component after component; the levels beyond a table's reach are escaped, four bytes each."""

    def __init__(self, tables: FirstTables) -> None:
        self._dims, self._reaches = tables.dims, tables.reaches[:, None]
        self.tables = tables.tables

    def numbers(self, count: int) -> I64:
        """The table of each symbol, for ``count`` tokens."""
        return np.repeat(np.arange(len(self._dims)), count)

    def symbols(self, levels: I64) -> tuple[I64, bytes]:
        """[N] symbols, and the levels that they leave out."""
        mine = levels[self._dims]
        beyond = np.abs(mine) > self._reaches
        symbols = mine + self._reaches
        if not beyond.any():
            return symbols.ravel(), b""
        symbols = np.where(beyond, 2 * self._reaches + 1, symbols)
        return symbols.ravel(), mine[beyond].astype("<i4").tobytes()

    def escaped(self, symbols: I64) -> int:
        """How many bytes of levels ``symbols`` leave out."""
        return ESCAPE_BYTES * int(np.count_nonzero(self._beyond(symbols)))

    def fill(self, levels: I64, symbols: I64, escaped: bytes) -> None:
        """Fill in this layer's components of ``levels``."""
        beyond = self._beyond(symbols)
        mine = symbols.reshape(len(self._dims), -1) - self._reaches
        if escaped:
            mine[beyond] = np.frombuffer(escaped, "<i4")
            large = np.abs(mine)
            if np.any(large[beyond] > MAX_LEVEL) or np.any((large <= self._reaches) & beyond):
                raise CodecError("an escaped level that needs no escape, or that is out of range")
        levels[self._dims] = mine

    def _beyond(self, symbols: I64) -> npt.NDArray[np.bool_]:
        """[n, K]: those that are escapes."""
        return np.equal(symbols.reshape(len(self._dims), -1), 2 * self._reaches + 1)


class FinerLevels:
    """Component after component: first of the levels below 0, then of those at 0, then above."""

    def __init__(self, tables: FinerTables) -> None:
        self._dims = tables.dims
        self.tables: tuple[Frequencies, ...] = tuple(t for ts in tables.tables for t in ts)

    def numbers(self, levels: I64) -> I64:
        """The table of each symbol, from the ``levels`` of the layer before."""
        return self._order(levels[self._dims])[0]

    def symbols(self, levels: I64) -> tuple[I64, I64]:
        """[N] tables and symbols, from the ``levels`` of this layer."""
        mine = levels[self._dims]
        before = coarser(mine)
        numbers, by_sign = self._order(before)
        mine += 1
        before *= 3
        mine -= before
        return numbers, np.take_along_axis(mine, by_sign, axis=1).ravel()

    def fill(self, levels: I64, symbols: I64) -> None:
        """Make this layer's components of ``levels`` three times as fine."""
        before = levels[self._dims]
        _, by_sign = self._order(before)
        steps = np.empty_like(before)
        np.put_along_axis(steps, by_sign, symbols.reshape(steps.shape), axis=1)
        before *= 3
        before += steps
        before -= 1
        levels[self._dims] = before

    def _order(self, before: I64) -> tuple[I64, I64]:
        """[N] tables of ``before`` [n, K] in the order of coding; [n, K] which token comes when."""
        signs = (np.sign(before) + 1).astype(np.uint8)  # bytes are sorted by radix
        by_sign = np.argsort(signs, axis=1, kind="stable")
        numbers = np.take_along_axis(signs, by_sign, axis=1).astype(np.int64)
        numbers += _SIGNS * np.arange(len(before))[:, None]
        return numbers.ravel(), by_sign
