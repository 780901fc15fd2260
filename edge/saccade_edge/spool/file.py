"""The spool's file: what is in it, and what became of what was. Synchronous, for one thread.

Rules:

- Everything happens in a ``transaction``: a packet, its counters and the numbers that were given
  are durable together or not at all.
- Rows that the edge holds in memory at the moment (``held``) are neither given out by ``page`` nor
  dropped: who holds them settles or releases them.
- What is dropped goes the lowest priority first, in it the oldest; what is given out goes the
  highest priority first, in it the oldest.
- A row that is settled but gone already was counted when it went.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from saccade.errors import ConfigError
from saccade_edge.spool.faults import fault_of
from saccade_edge.spool.nouns import (
    CORRUPT_FILES,
    HANDED,
    PRIORITIES,
    REBORN,
    Entry,
    Fate,
    Identity,
    SpoolSettings,
)
from saccade_edge.spool.rows import COLUMNS, INSERT, cost, from_row, one, to_row
from saccade_edge.spool.schema import (
    VERSION,
    names_of,
    read_counts,
    read_meta,
    read_notes,
    write_meta,
    write_notes,
)

MAX_CAMERAS = 64  # what a cloud accepts of one device
# Numbers are reserved ahead: those that were given while the disk was out of order are not given
# again after a restart. At ten frames a second it lasts for two hours of such a disk.
RESERVE = 1 << 16
MS_PER_HOUR = 3_600_000
EXPIRED_AT_ONCE = 1000  # packets in one transaction
_PAGE_BYTES = 4096  # SQLite's


class SpoolFile:
    """Opened by ``open``. Every method raises ``sqlite3.Error`` or ``OSError`` for the disk's
    troubles.
    """

    def __init__(
        self, connection: sqlite3.Connection, settings: SpoolSettings, identity: Identity
    ) -> None:
        self.connection = connection
        self.identity = identity
        self.held: set[int] = set()
        self.missing: set[int] = set()  # held, and gone with a corrupt file
        self._settings = settings
        self._bundle = 0
        meta = read_meta(connection)
        self.first_sequence = int(meta.get("sequences", 0))  # the last one of earlier runs
        self.first_question = int(meta.get("questions", 0))
        self._reserved = (self.first_sequence, self.first_question)
        self.said_until = int(meta.get("said_until", 0))
        self.notes: Mapping[str, str] = read_notes(meta)
        self.counts: Counter[str] = Counter(read_counts(connection))
        self.rows = one(connection, "SELECT COUNT(*) FROM packet")
        self.bytes = one(connection, "SELECT SUM(bytes) FROM packet")
        self.others = 0  # rows of other bundles
        self.added = 0  # which of the spool's counts are in ours
        self._ended = False

    @classmethod
    def open(cls, settings: SpoolSettings, digest: bytes, fresh: Identity) -> SpoolFile:
        """``fresh``: who we are where the file does not say it; its cameras are added.

        Raises ``ConfigError`` for a spool of another device or format, or of 64 other cameras.
        """
        connection = settings.connect(settings.path)
        try:
            file = cls(connection, settings, _identity(read_meta(connection), fresh))
            with file.transaction():
                file._enrol(digest)
                file.reserve(file.first_sequence, file.first_question)
        except BaseException:
            connection.close()
            raise
        return file

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Durable when the ``with`` statement has ended well; else as if nothing had been done."""
        before = self._mirror()
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self._write_counts(before["counts"])
            self.connection.execute("COMMIT")
        except BaseException:
            self.__dict__.update(before)
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def put(self, entry: Entry, *, saying: bool, again: bool = False) -> Fate | None:
        """Keep a packet and hold it; why not, where there is no room. ``saying``: it may go out as
        soon as it is kept. ``again``: it was counted as handed over when the disk failed.
        """
        if again and self._holds(entry.sequence):
            return None  # the write that seemed to fail did not
        if fate := self._make_room(entry):
            return fate
        self.connection.execute(INSERT, to_row(entry, self._bundle))
        self.rows += 1
        self.bytes += cost(entry)
        self.counts[HANDED] += not again
        self.held.add(entry.sequence)
        self.reserve(entry.sequence, max((asked.id for asked in entry.questions), default=0))
        if saying:
            self.saying(entry.sequence)
        return None

    def settle(self, sequence: int, counter: str, *, unasked_only: bool = False) -> bool:
        """A packet ended. ``unasked_only``: leave it where questions about it are open."""
        if unasked_only and one(
            self.connection, "SELECT questions != '[]' FROM packet WHERE sequence = ?", sequence
        ):
            return False
        self.held.discard(sequence)
        if sequence in self.missing:
            self.missing.discard(sequence)
            self.counts[counter] += 1
            return True
        return self._delete(sequence, counter) > 0

    def release(self, sequence: int) -> None:
        """It is no longer in memory."""
        if sequence in self.missing:
            self.settle(sequence, Fate.CORRUPT.value)
        self.held.discard(sequence)

    def forget(self, sequence: int) -> None:
        """Memory has settled and counted it already."""
        self.held.discard(sequence)
        self._delete(sequence, None)

    def continue_from(self, corrupt: SpoolFile) -> int:
        """Take the place of a file that is lost; how many packets were lost with it.

        What is in memory is not: it is counted when it is settled or released.
        """
        lost = max(corrupt.rows - len(corrupt.held), 0)
        self.missing = corrupt.held | corrupt.missing
        self.counts = Counter(corrupt.counts)
        self.counts[CORRUPT_FILES] += 1
        self.counts[Fate.CORRUPT.value] += lost
        self.counts[REBORN] += 1
        return lost

    def page(self, rows: int, most_bytes: int) -> list[Entry]:
        """The next packets of the backlog, now held, ``most_bytes`` of them or a single one."""
        entries: list[Entry] = []
        size = 0
        for sequence, row_bytes in self._waiting(rows):
            if entries and size + row_bytes > most_bytes:
                break
            entry = self._read(sequence)
            if entry is None:
                self._delete(sequence, Fate.DAMAGED.value)
                continue
            entries.append(entry)
            size += row_bytes
        self.held.update(entry.sequence for entry in entries)
        self.saying(max((entry.sequence for entry in entries), default=0))
        return entries

    def expire(self, now_unix_ms: int) -> int:
        """Drop some of what was captured longer ago than the spool keeps; how many packets."""
        oldest_ms = now_unix_ms - int(self._settings.keep_hours * MS_PER_HOUR)
        query = "SELECT sequence FROM packet WHERE captured_unix_ms < ? LIMIT ?"
        limit = EXPIRED_AT_ONCE + len(self.held)
        old = self.connection.execute(query, (oldest_ms, limit)).fetchall()
        free = [int(row[0]) for row in old if row[0] not in self.held]
        for sequence in free:
            self._delete(sequence, Fate.EXPIRED.value)
        return len(free)

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

    def saying(self, sequence: int) -> None:
        """Packets up to this may be said from now on."""
        if sequence > self.said_until:
            self.said_until = sequence
            write_meta(self.connection, said_until=sequence)

    def note(self, notes: Mapping[str, str]) -> None:
        """What is to be remembered across restarts, by name."""
        changed = {name: text for name, text in notes.items() if self.notes.get(name) != text}
        if changed:
            write_notes(self.connection, changed)
            self.notes = {**self.notes, **changed}

    def reborn(self, boot: int) -> None:
        """All that is here, and all that comes, has a new identity, of which nothing was said."""
        self.identity = replace(self.identity, boot=boot)
        self.said_until = 0
        self.counts[REBORN] += 1
        write_meta(self.connection, boot=f"{boot:016x}", said_until=0)

    def add_counts(self, counts: Mapping[str, int]) -> None:
        """What happened outside of the file."""
        self.counts.update(counts)

    def close(self) -> None:
        self.connection.close()

    def _mirror(self) -> dict[str, Any]:
        """What the memory holds of the file, to go back to when a transaction fails."""
        return {
            name: value.copy() if isinstance(value, Counter | set) else value
            for name, value in self.__dict__.items()
        }

    def _holds(self, sequence: int) -> bool:
        query = "SELECT COUNT(*) FROM packet WHERE sequence = ?"
        return one(self.connection, query, sequence) > 0

    def _make_room(self, entry: Entry) -> Fate | None:
        size = cost(entry)
        if size > self._settings.quota_bytes:
            return Fate.QUOTA
        over = self.bytes + size - self._settings.quota_bytes
        if over > 0 and not self._evict(over, entry.priority, Fate.QUOTA):
            return Fate.QUOTA
        if self._disk_is_short(size) and not self._evict(size, entry.priority, Fate.DISK_FULL):
            return Fate.DISK_FULL
        return None

    def _disk_is_short(self, size: int) -> bool:
        """Whether only the reserve is left, and no page of the file is free."""
        disk = os.statvfs(self._settings.path.parent)
        if disk.f_bavail * disk.f_frsize >= self._settings.reserve_bytes:
            return False
        free_pages = one(self.connection, "PRAGMA freelist_count")
        return free_pages * _PAGE_BYTES < size + 4 * _PAGE_BYTES

    def _evict(self, needed: int, most_priority: int, fate: Fate) -> bool:
        """Drop packets of at most a priority until so many bytes are free."""
        for priority in PRIORITIES:
            if priority > most_priority:
                break
            query = "SELECT sequence FROM packet WHERE priority = ? ORDER BY sequence LIMIT ?"
            while needed > 0:
                limit = len(self.held) + 64
                found = self.connection.execute(query, (priority, limit)).fetchall()
                free = [int(row[0]) for row in found if row[0] not in self.held]
                if not free:
                    break
                for sequence in free:
                    needed -= self._delete(sequence, fate.value) if needed > 0 else 0
        return needed <= 0

    def _delete(self, sequence: int, counter: str | None) -> int:
        """The bytes that it took; 0 where it is gone already."""
        query = "SELECT bytes, bundle FROM packet WHERE sequence = ?"
        row = self.connection.execute(query, (sequence,)).fetchone()
        if row is None:
            return 0
        self.connection.execute("DELETE FROM packet WHERE sequence = ?", (sequence,))
        self.rows -= 1
        self.bytes -= row[0]
        self.others -= row[1] != self._bundle
        if counter is not None:
            self.counts[counter] += 1
        return int(row[0])

    def _waiting(self, rows: int) -> list[tuple[int, int]]:
        """(sequence, bytes) of the backlog's next rows that are not held."""
        query = (
            "SELECT sequence, bytes FROM packet WHERE priority = ? AND bundle = ? "
            "ORDER BY sequence LIMIT ?"
        )
        found: list[tuple[int, int]] = []
        for priority in reversed(PRIORITIES):
            limit = rows + len(self.held)
            of_it = self.connection.execute(query, (priority, self._bundle, limit)).fetchall()
            found += [(int(s), int(n)) for s, n in of_it if s not in self.held]
            if len(found) >= rows:
                break
        return found[:rows]

    def _read(self, sequence: int) -> Entry | None:
        query = f"SELECT {COLUMNS} FROM packet WHERE sequence = ?"
        row: tuple[Any, ...] = self.connection.execute(query, (sequence,)).fetchone()
        return from_row(row)

    def _enrol(self, digest: bytes) -> None:
        """Write down who we are. Rows of other bundles wait for theirs until they expire."""
        known = names_of(read_meta(self.connection).get("bundles"))
        bundles = known if digest.hex() in known else (*known, digest.hex())
        self._bundle = bundles.index(digest.hex())
        query = "SELECT COUNT(*) FROM packet WHERE bundle != ?"
        self.others = one(self.connection, query, self._bundle)
        identity = self.identity
        write_meta(
            self.connection,
            version=VERSION,
            device=identity.device,
            boot=f"{identity.boot:016x}",
            epoch_unix_ms=identity.epoch_unix_ms,
            cameras=json.dumps(identity.cameras),
            bundles=json.dumps(bundles),
            quota_bytes=self._settings.quota_bytes,
            bundle=self._bundle,
        )

    def _write_counts(self, before: Counter[str]) -> None:
        changed = [(name, n) for name, n in self.counts.items() if n != before[name]]
        if changed:
            self.connection.executemany(
                "INSERT INTO counter VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET packets = excluded.packets",
                changed,
            )


def open_or_replace(
    settings: SpoolSettings, digest: bytes, fresh: Identity
) -> tuple[SpoolFile, Path | None]:
    """The spool's file, and where a corrupt one was moved, if it was."""
    try:
        return SpoolFile.open(settings, digest, fresh), None
    except sqlite3.DatabaseError as error:
        if fault_of(error).fate is not Fate.CORRUPT:
            raise
    lost = _rows_of(settings.path)
    aside = move_aside(settings.path)
    file = SpoolFile.open(settings, digest, fresh)
    with file.transaction():
        file.add_counts({CORRUPT_FILES: 1, HANDED: lost, Fate.CORRUPT.value: lost})
    return file, aside


def move_aside(path: Path) -> Path:
    """A corrupt database and what belongs to it, for who may repair it; its new name."""
    aside = path.with_name(f"{path.name}.corrupt-{time.time_ns() // 1_000_000}")
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    return aside


def _rows_of(path: Path) -> int:
    """How many packets a corrupt file holds, as far as it still says."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return one(connection, "SELECT COUNT(*) FROM packet")
    except sqlite3.Error:
        return 0


def _identity(meta: Mapping[str, str], fresh: Identity) -> Identity:
    """The file's, with our cameras: names are only ever added, rows know them by their place."""
    if "boot" not in meta:
        return fresh
    if meta["device"] != fresh.device:
        raise ConfigError(
            f"the spool belongs to device {meta['device']!r}, this one is {fresh.device!r}: give "
            "it that name (--device), or use another spool"
        )
    known = names_of(meta.get("cameras"))
    cameras = (*known, *(name for name in fresh.cameras if name not in known))
    if len(cameras) > MAX_CAMERAS:
        raise ConfigError(
            f"the spool would know {len(cameras)} cameras, the limit is {MAX_CAMERAS}: use another"
        )
    return Identity(fresh.device, int(meta["boot"], 16), int(meta["epoch_unix_ms"]), cameras)
