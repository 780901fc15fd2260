"""The table of packets, and how much is in it. Nothing here decides or counts what ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from copy import copy
from typing import TYPE_CHECKING, Any

from saccade_edge.spool.packet_rows import COLUMNS, INSERT, cost, from_row, one, to_row
from saccade_edge.spool.spool_types import Entry

if TYPE_CHECKING:
    from typing_extensions import Self

_AT_ONCE = 64  # rows that are looked through for one to drop


class PacketTable:
    """``rows``, ``bytes``: what is in it, ``others`` of the rows from other bundles than the one of
    ``use``. ``held``: what the edge has in memory at the moment.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.rows = one(connection, "SELECT COUNT(*) FROM packet")
        self.bytes = one(connection, "SELECT SUM(bytes) FROM packet")
        self.others = 0
        self.held: set[int] = set()
        self._connection = connection
        self._bundle = 0

    def copy(self) -> Self:
        """What memory holds of the table, to go back to when a transaction fails."""
        same = copy(self)
        same.held = self.held.copy()
        return same

    def use(self, bundle: int) -> None:
        """New packets are of this bundle, and only its own are given out."""
        self._bundle = bundle
        query = "SELECT COUNT(*) FROM packet WHERE bundle != ?"
        self.others = one(self._connection, query, bundle)

    def __contains__(self, sequence: int) -> bool:
        query = "SELECT COUNT(*) FROM packet WHERE sequence = ?"
        return one(self._connection, query, sequence) > 0

    def asked_about(self, sequence: int) -> bool:
        """Whether it is there and has questions."""
        query = "SELECT questions != '[]' FROM packet WHERE sequence = ?"
        return one(self._connection, query, sequence) > 0

    def add(self, entry: Entry) -> None:
        """It is held from now on."""
        self._connection.execute(INSERT, to_row(entry, self._bundle))
        self.rows += 1
        self.bytes += cost(entry)
        self.held.add(entry.sequence)

    def remove(self, sequence: int) -> int | None:
        """The bytes that it took; None where it is gone already."""
        query = "SELECT bytes, bundle FROM packet WHERE sequence = ?"
        row = self._connection.execute(query, (sequence,)).fetchone()
        if row is None:
            return None
        self._connection.execute("DELETE FROM packet WHERE sequence = ?", (sequence,))
        self.rows -= 1
        self.bytes -= row[0]
        self.others -= row[1] != self._bundle
        return int(row[0])

    def read(self, sequence: int) -> Entry | None:
        """Of one that is there; None where its checksum is wrong."""
        query = f"SELECT {COLUMNS} FROM packet WHERE sequence = ?"
        row: tuple[Any, ...] = self._connection.execute(query, (sequence,)).fetchone()
        return from_row(row)

    def waiting(self, rows: int) -> list[tuple[int, int]]:
        """(sequence, bytes) of the next to be given out, none of them held."""
        query = "SELECT sequence, bytes FROM packet WHERE bundle = ? ORDER BY sequence LIMIT ?"
        limit = rows + len(self.held)
        oldest = self._connection.execute(query, (self._bundle, limit)).fetchall()
        return [(int(s), int(n)) for s, n in oldest if s not in self.held][:rows]

    def droppable(self) -> Iterator[int]:
        """Sequences in the order in which they are dropped, none of them held. Those that were
        given may be removed meanwhile.
        """
        query = "SELECT sequence FROM packet WHERE sequence > ? ORDER BY sequence LIMIT ?"
        last = -1
        while found := self._connection.execute(query, (last, _AT_ONCE)).fetchall():
            yield from (int(row[0]) for row in found if row[0] not in self.held)
            last = found[-1][0]

    def free_pages(self) -> int:
        """Pages of the whole file that are free for new rows."""
        return one(self._connection, "PRAGMA freelist_count")

    def captured_before(self, unix_ms: int, most: int) -> list[int]:
        """Sequences, none of them held."""
        query = "SELECT sequence FROM packet WHERE captured_unix_ms < ? LIMIT ?"
        old = self._connection.execute(query, (unix_ms, most + len(self.held))).fetchall()
        return [int(row[0]) for row in old if row[0] not in self.held]
