"""The spool's file: what is in it, and what became of what was. Synchronous, for one thread.

Rules:

- Everything happens in a ``transaction``: a packet, its counters and the numbers that were given
  are durable together or not at all.
- Rows that the edge holds in memory at the moment (``held``) are neither given out by ``page`` nor
  dropped: who holds them settles or releases them.
- What is dropped and what is given out goes the oldest first.
- A row that is settled but gone already was counted when it went.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from saccade.open_files import OpenFiles, damage_of, inode_of
from saccade_edge.spool.eviction import make_room
from saccade_edge.spool.packet_table import PacketTable
from saccade_edge.spool.spool_faults import FileLost
from saccade_edge.spool.spool_identity import enrol, identity_of
from saccade_edge.spool.spool_schema import (
    BUSY_S,
    read_counts,
    read_meta,
    read_notes,
    write_counts,
    write_meta,
    write_notes,
)
from saccade_edge.spool.spool_types import (
    CORRUPT_FILES,
    HANDED,
    REBORN,
    Entry,
    Fate,
    Identity,
    SpoolSettings,
)

# Numbers are reserved ahead: those that were given while the disk was out of order are not given
# again after a restart. At ten frames a second it lasts for two hours of such a disk.
RESERVE = 1 << 16
MS_PER_HOUR = 3_600_000
EXPIRED_AT_ONCE = 1000  # packets in one transaction
EXAMINED_AT_ONCE_BYTES = 16 << 20  # when it is opened: a second on a slow card


class SpoolFile:
    """Opened by ``open``. Every method raises ``sqlite3.Error`` or ``OSError`` for the disk's
    troubles.
    """

    def __init__(
        self, connection: sqlite3.Connection, settings: SpoolSettings, identity: Identity
    ) -> None:
        self.connection = connection
        self.identity = identity
        self.packets = PacketTable(connection)
        self.missing: set[int] = set()  # held, and gone with a corrupt file
        self._settings = settings
        meta = read_meta(connection)
        self.first_sequence = int(meta.get("sequences", 0))  # the last one of earlier runs
        self.first_question = int(meta.get("questions", 0))
        self._reserved = (self.first_sequence, self.first_question)
        self.sent_until = int(meta.get("sent_until", 0))
        self.notes: Mapping[str, str] = read_notes(meta)
        self.counts: Counter[str] = Counter(read_counts(connection))
        self.added = 0  # which of the spool's counts are in ours
        self._ended = False
        self._files: OpenFiles | None = None
        self._folder = inode_of(settings.path.parent)

    @classmethod
    def open(cls, settings: SpoolSettings, digest: bytes, fresh: Identity) -> SpoolFile:
        """``fresh``: who we are where the file does not say it; its cameras are added.

        Raises ``ConfigError`` for a spool of another device or format, or of 64 other cameras.
        """
        connection = settings.connect(settings.path)
        try:
            file = cls(connection, settings, identity_of(read_meta(connection), fresh))
            with file.transaction():
                file.packets.use(enrol(connection, file.identity, digest, settings.quota_bytes))
                file.reserve(file.first_sequence, file.first_question)
            file._files = OpenFiles(settings.path, connection)
            if settings.path.stat().st_size <= EXAMINED_AT_ONCE_BYTES:
                file.examine()
        except BaseException:
            connection.close()
            raise
        return file

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Durable when the ``with`` statement has ended well; else as if nothing had been done."""
        before = self._mirror()
        try:
            self.check()
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            counted = before["counts"]
            changed = {name: n for name, n in self.counts.items() if n != counted[name]}
            write_counts(self.connection, changed)
            self.connection.execute("COMMIT")
            self.check()  # what was committed to a file without a name is not kept
        except BaseException:
            self.__dict__.update(before)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def check(self) -> None:
        """Raises ``FileLost`` where a file of the database was deleted, replaced or cut."""
        if self._files is not None and (trouble := self._files.trouble()):
            raise FileLost(trouble)

    @property
    def is_lost(self) -> bool:
        """Whether the last `check` raised."""
        return self._files is not None and bool(self._files.last_trouble)

    @property
    def place_is_free(self) -> bool:
        """Whether a new file may be made in the place of one that is lost: its folder is the one
        of the old file (and not an empty one under a disk that was unmounted), and nobody put
        another file there.
        """
        path = self._settings.path
        same_folder = inode_of(path.parent) == self._folder
        if not same_folder or self._files is None:
            return False
        return not path.exists() or self._files.holds(path)

    def examine(self) -> None:
        """Read all pages, past this connection's cache. Raises ``sqlite3.DatabaseError`` for a
        damaged one.
        """
        if damage := damage_of(self._settings.path, BUSY_S):
            raise sqlite3.DatabaseError(f"database disk image is malformed: {damage}")

    def put(self, entry: Entry, *, sending: bool, again: bool = False) -> Fate | None:
        """Keep a packet and hold it; why not, where there is no room. ``sending``: it may go out as
        soon as it is kept. ``again``: it was counted as handed over when the disk failed.
        """
        if again and entry.sequence in self.packets:
            return None  # the write that seemed to fail did not
        if fate := make_room(self.packets, self._settings, entry, self._drop):
            return fate
        self.packets.add(entry)
        self.counts[HANDED] += not again
        self.reserve(entry.sequence, max((asked.id for asked in entry.questions), default=0))
        if sending:
            self.mark_sent(entry.sequence)
        return None

    def settle(self, sequence: int, counter: str, *, unasked_only: bool = False) -> bool:
        """A packet ended. ``unasked_only``: leave it where questions about it are open."""
        if unasked_only and self.packets.asked_about(sequence):
            return False
        self.packets.held.discard(sequence)
        if sequence in self.missing:
            self.missing.discard(sequence)
            self.counts[counter] += 1
            return True
        return self._drop(sequence, counter) > 0

    def release(self, sequence: int) -> None:
        """It is no longer in memory."""
        if sequence in self.missing:
            self.settle(sequence, Fate.CORRUPT.value)
        self.packets.held.discard(sequence)

    def forget(self, sequence: int) -> None:
        """Memory has settled and counted it already."""
        self.packets.held.discard(sequence)
        self._drop(sequence, None)

    def continue_from(self, corrupt: SpoolFile) -> int:
        """Take the place of a file that is lost; how many packets were lost with it.

        What is in memory is not: it is counted when it is settled or released.
        """
        lost = max(corrupt.packets.rows - len(corrupt.packets.held), 0)
        self.missing = corrupt.packets.held | corrupt.missing
        self.counts = Counter(corrupt.counts)
        self.counts[CORRUPT_FILES] += 1
        self.counts[Fate.CORRUPT.value] += lost
        self.counts[REBORN] += 1
        return lost

    def page(self, rows: int, most_bytes: int) -> list[Entry]:
        """The next packets of the backlog, now held, ``most_bytes`` of them or a single one."""
        entries: list[Entry] = []
        size = 0
        for sequence, row_bytes in self.packets.waiting(rows):
            if entries and size + row_bytes > most_bytes:
                break
            entry = self.packets.read(sequence)
            if entry is None:
                self._drop(sequence, Fate.DAMAGED.value)
                continue
            entries.append(entry)
            size += row_bytes
        self.packets.held.update(entry.sequence for entry in entries)
        self.mark_sent(max((entry.sequence for entry in entries), default=0))
        return entries

    def expire(self, now_unix_ms: int) -> int:
        """Drop some of what was captured longer ago than the spool keeps; how many packets."""
        oldest_ms = now_unix_ms - int(self._settings.keep_hours * MS_PER_HOUR)
        old = self.packets.captured_before(oldest_ms, EXPIRED_AT_ONCE)
        for sequence in old:
            self._drop(sequence, Fate.EXPIRED.value)
        return len(old)

    def reserve(self, sequence: int, question: int) -> None:
        """Numbers up to these were given."""
        if self._ended:
            return
        given = (sequence, question)
        short = any(n > r - RESERVE // 2 for n, r in zip(given, self._reserved, strict=True))
        if short:
            sequences, questions = (
                max(n + RESERVE, r) for n, r in zip(given, self._reserved, strict=True)
            )
            self._reserved = sequences, questions
            write_meta(self.connection, sequences=sequences, questions=questions)

    @property
    def reserved(self) -> tuple[int, int]:
        """Up to which number sequences and questions can be given."""
        return self._reserved

    def end(self, sequence: int, question: int) -> None:
        """Well: the next run goes on after these numbers. What a corrupt file took is lost now."""
        for missing in list(self.missing):
            self.release(missing)
        self._ended = True
        self._reserved = sequence, question
        write_meta(self.connection, sequences=sequence, questions=question)

    def mark_sent(self, sequence: int) -> None:
        """Packets up to this may be sent from now on."""
        if sequence > self.sent_until:
            self.sent_until = sequence
            write_meta(self.connection, sent_until=sequence)

    def note(self, notes: Mapping[str, str]) -> None:
        """What is to be remembered across restarts, by name."""
        changed = {name: text for name, text in notes.items() if self.notes.get(name) != text}
        if changed:
            write_notes(self.connection, changed)
            self.notes = {**self.notes, **changed}

    def reborn(self, boot: int) -> None:
        """All that is here, and all that comes, has a new identity, of which nothing was sent."""
        self.identity = replace(self.identity, boot=boot)
        self.sent_until = 0
        self.counts[REBORN] += 1
        write_meta(self.connection, boot=f"{boot:016x}", sent_until=0)

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """What happened outside of the file."""
        self.counts.update(counts)

    def close(self) -> None:
        self.connection.close()

    def _mirror(self) -> dict[str, Any]:
        """What the memory holds of the file, to go back to when a transaction fails."""
        return {
            name: value.copy() if isinstance(value, Counter | set | PacketTable) else value
            for name, value in self.__dict__.items()
        }

    def _drop(self, sequence: int, counter: str | None) -> int:
        """The bytes that it took; 0 where it is gone already, and was counted then."""
        size = self.packets.remove(sequence)
        if size is None:
            return 0
        if counter is not None:
            self.counts[counter] += 1
        return size
