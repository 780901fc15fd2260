"""Packets on disk until the cloud has them, for an event loop that never waits for the disk.

What the promises are, and what happens in each failure, is in docs/design/delivery.md.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from saccade.errors import ConfigError
from saccade.sqlite_files import check_sqlite
from saccade.tasks import within
from saccade_edge.spool.examiner import Examiner
from saccade_edge.spool.replacing import move_aside, open_or_replace
from saccade_edge.spool.sequence_numbers import Numbers
from saccade_edge.spool.spool_faults import SpoolFault, at_opening, fault_of
from saccade_edge.spool.spool_file import SpoolFile
from saccade_edge.spool.spool_lock import Lock, was_locked
from saccade_edge.spool.spool_schema import FORMAT
from saccade_edge.spool.spool_types import (
    HANDED,
    Entry,
    Fate,
    Identity,
    SpoolEvent,
    SpoolMended,
    SpoolReborn,
    SpoolReport,
    SpoolSettings,
    SpoolTroubled,
)
from saccade_edge.spool.spool_worker import Job, Worker

# A packet whose write takes longer goes out from memory; cards pause for seconds to tidy up.
PATIENCE_S = 1.0
CLOSE_S = 3.0
EXPIRY_S = 60.0


NS_PER_MS = 1_000_000

T = TypeVar("T")


class Spool:
    """Made by ``open``; ``listen`` before anything else, ``close`` at the end.

    ``identity`` is what the next Hello has to say; whenever it changes a ``SpoolReborn`` is told.
    """

    def __init__(
        self,
        settings: SpoolSettings,
        file: SpoolFile,
        digest: bytes,
        lock: Lock,
        aside: Path | None,
    ) -> None:
        self._settings = settings
        self._digest = digest
        self._lock = lock
        self._aside = aside
        self.identity: Identity = file.identity
        self.sent_until = file.sent_until  # the last packet that a cloud may know of this boot
        self.trouble: Fate | None = None
        self._sequences = Numbers(file.first_sequence, file.reserved[0])
        self._questions = Numbers(file.first_question, file.reserved[1])
        # Counts of what is not on disk: new ones, and those that a transaction is writing.
        self._guard = threading.Lock()
        self._unwritten: Counter[str] = Counter()
        self._writing: Counter[str] = Counter()
        self._notes: dict[str, str] = dict(file.notes)
        self._added = 0  # how often what is being written was added to the file's own
        self._expired_s = -math.inf
        self._emit: Callable[[SpoolEvent], None] = lambda event: None
        self._stored_late: Callable[[int], bool] = lambda sequence: False
        tend = Job(self._tend, self._tended)
        self._worker = Worker(file, self._replace, tend, self._on_fault, lock.check)
        self._examiner = Examiner(self._examine)

    @classmethod
    def open(cls, settings: SpoolSettings, device: str, digest: bytes, camera: str) -> Spool:
        """Blocks. Raises ``ConfigError`` for what is set wrongly or in use, ``SpoolFault`` where
        the disk does not serve.
        """
        now_ms = time.time_ns() // NS_PER_MS
        fresh = Identity(device, secrets.randbits(64), now_ms, (camera,))
        try:
            check_sqlite(settings.path, FORMAT, known=was_locked(settings.path))
            settings.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = Lock(settings.path)
        except OSError as error:
            raise at_opening(error) from error
        try:
            file, aside = open_or_replace(settings, digest, fresh)
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise fault_of(error) from error
        except ConfigError:
            lock.release()
            raise
        return cls(settings, file, digest, lock, aside)

    def listen(
        self, emit: Callable[[SpoolEvent], None], stored_late: Callable[[int], bool]
    ) -> None:
        """Both are called in the running event loop. ``emit`` hears of troubles; ``stored_late`` of
        packets that are on disk after all: whether they are still in memory.
        """
        loop = asyncio.get_running_loop()
        self._emit = lambda event: _post(loop, emit, event)
        self._stored_late = stored_late
        if self._aside is not None:
            emit(SpoolReborn(f"a corrupt spool was moved to {self._aside}"))

    def next_sequence(self) -> int:
        """For a packet; in any thread."""
        return self._sequences.next()

    def next_question(self) -> int:
        """An id for a question."""
        return self._questions.next()

    async def put(self, entry: Entry, *, sending: bool, again: bool = False) -> Fate | None:
        """Keep a packet: None once it is on disk, else why it is not. Handed over it is either way,
        once: a further try comes ``again``.

        ``sending``: it may go out as soon as this returns. A write that takes too long goes on;
        ``stored_late`` hears of it.
        """
        if sending:
            self.sent_until = max(self.sent_until, entry.sequence)
        if self._sequences.exhausted or self._questions.exhausted:
            self.reborn("the numbers ran out while the disk was out of order")
        write = _Write(self, entry.sequence, again)
        try:
            result = await self._done(
                lambda file: file.put(entry, sending=sending, again=again), write.late
            )
        except asyncio.CancelledError:
            write.leave(given_up=False)
            raise
        if isinstance(result, SpoolFault):
            result = result.fate
        if result is not None and not again:
            self.count(HANDED)
        if result is Fate.STALLED:
            write.leave(given_up=True)
        return result

    async def page(self, rows: int, most_bytes: int) -> list[Entry]:
        """The backlog's next packets, which the caller then holds; none while the disk fails."""
        if self.trouble is not None:
            return []
        result = await self._done(lambda file: file.page(rows, most_bytes), self._unread)
        if isinstance(result, SpoolFault):
            return []
        self.sent_until = max(self.sent_until, *(entry.sequence for entry in result), 0)
        return result

    async def mark_sent(self, sequence: int) -> None:
        """Packets up to this one may be sent from now on."""
        self.sent_until = max(self.sent_until, sequence)
        await self._done(lambda file: file.mark_sent(sequence), lambda result: None)

    def settle(self, sequence: int, counter: str, *, unasked_only: bool = False) -> None:
        """A packet that is on disk ended."""
        self._owe(lambda file: file.settle(sequence, counter, unasked_only=unasked_only))

    def release(self, sequence: int) -> None:
        """Memory forgets a packet that is on disk: it comes again in a ``page``."""
        self._owe(lambda file: file.release(sequence))

    def forget(self, sequence: int) -> None:
        """A packet came to the disk after it had ended and was counted."""
        self._owe(lambda file: file.forget(sequence))

    def count(self, counter: str, packets: int = 1) -> None:
        """Packets that are not on disk ended."""
        with self._guard:
            self._unwritten[counter] += packets

    def note(self, name: str, text: str) -> None:
        """Remember ``text`` across restarts, on disk within a second or two."""
        with self._guard:
            self._notes[name] = text

    def noted(self, name: str) -> str:
        """What was last remembered, empty where nothing was."""
        with self._guard:
            return self._notes.get(name, "")

    def reborn(self, reason: str) -> None:
        """Take a new boot, because what the present one stands for is no longer known."""
        boot = secrets.randbits(64)
        self.identity = replace(self.identity, boot=boot)
        self.sent_until = 0
        self._sequences.free()
        self._questions.free()
        self._owe(lambda file: file.reborn(boot))
        self._emit(SpoolReborn(reason))

    @property
    def waiting(self) -> int:
        """Packets on disk that this bundle's cloud can have."""
        packets = self._worker.file.packets
        return packets.rows - packets.others

    def report(self) -> SpoolReport:
        """What is in it now, and what became of what was."""
        file = self._worker.file
        with self._guard:
            counts = Counter(file.counts)
            counts.update(self._unwritten)
            if file.added != self._added:
                counts.update(self._writing)
        return SpoolReport(
            path=str(self._settings.path),
            device=self.identity.device,
            boot=f"{self.identity.boot:016x}",
            cameras=self.identity.cameras,
            packets=file.packets.rows,
            bytes=file.packets.bytes,
            other_bundle=file.packets.others,
            quota_bytes=self._settings.quota_bytes,
            counts={name: n for name, n in sorted(counts.items()) if n},
            trouble=self.trouble.value if self.trouble else "",
        )

    async def close(self) -> None:
        """Write what waits to be written; a disk that hangs is left alone after some seconds."""
        self._examiner.close()
        given = self._sequences.given, self._questions.given
        self._owe(lambda file: file.end(*given))
        if await asyncio.to_thread(self._worker.close, CLOSE_S):
            self._worker.file.close()
            self._lock.release()

    def _owe(self, work: Callable[[SpoolFile], object]) -> None:
        self._worker.do(Job(work, required=True))

    async def _done(
        self, work: Callable[[SpoolFile], T], late: Callable[[T | SpoolFault], None]
    ) -> T | SpoolFault:
        """The result of a job, or the fault. A disk that takes too long has stalled; ``late`` hears
        the result of that, and of a job whose caller was cancelled.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T | SpoolFault] = loop.create_future()

        def resolve(result: T | SpoolFault) -> None:
            if future.done():
                late(result)
            else:
                future.set_result(result)

        self._worker.do(Job(work, partial(_post, loop, resolve)))
        try:
            return await within(PATIENCE_S, future)
        except asyncio.TimeoutError:
            return SpoolFault(Fate.STALLED, f"a write took longer than {PATIENCE_S:g} s")

    def _unread(self, page: list[Entry] | SpoolFault) -> None:
        """Nobody took it."""
        for entry in [] if isinstance(page, SpoolFault) else page:
            self.release(entry.sequence)

    def _examine(self) -> None:
        """In the examiner's thread."""
        file = self._worker.file

        def report(present: SpoolFile) -> None:
            if present is file:
                raise damage

        try:
            file.examine()
        except sqlite3.DatabaseError as error:
            damage = error
            if fault_of(error).fate is Fate.CORRUPT:
                self._worker.do(Job(report))

    # What follows runs in the worker's thread.

    def _tend(self, file: SpoolFile) -> None:
        with self._guard:
            self._writing.update(self._unwritten)
            self._unwritten.clear()
            self._added += 1
            file.add_counts(self._writing)
            file.added = self._added  # goes back with the counts where the transaction fails
            notes = dict(self._notes)
        file.note(notes)
        file.reserve(self._sequences.given, self._questions.given)
        due = time.monotonic() >= self._expired_s + EXPIRY_S
        if due and file.expire(time.time_ns() // NS_PER_MS) == 0:
            self._expired_s = time.monotonic()

    def _tended(self, result: object) -> None:
        if isinstance(result, SpoolFault):
            return
        with self._guard:
            self._writing.clear()
        self._sequences.reserved, self._questions.reserved = self._worker.file.reserved

    def _replace(self, corrupt: SpoolFile) -> SpoolFile:
        lost_file = "the spool's file was lost while in use, what is left of it"
        what = lost_file if corrupt.is_lost else "the spool is corrupt and"
        corrupt.close()
        aside = move_aside(self._settings.path)
        fresh = replace(self.identity, boot=secrets.randbits(64))
        file = SpoolFile.open(self._settings, self._digest, fresh)
        with file.transaction():
            lost = file.continue_from(corrupt)
            file.reserve(self._sequences.given, self._questions.given)
        self.identity, self.sent_until = fresh, 0
        self._emit(SpoolReborn(f"{what} was moved to {aside}", lost))
        return file

    def _on_fault(self, fault: SpoolFault | None) -> None:
        self.trouble = fault.fate if fault else None
        self._emit(SpoolTroubled(fault.fate, fault.detail) if fault else SpoolMended())


class _Write:
    """A packet's write that nobody waits for any more: the disk was too slow and the packet,
    counted as handed over, goes from memory (``given_up``), or whoever waited was cancelled.
    """

    def __init__(self, spool: Spool, sequence: int, again: bool) -> None:
        self._spool = spool
        self._sequence = sequence
        self._handed = 0 if again else 1
        self._given_up: bool | None = None
        self._early: list[Fate | SpoolFault | None] = []

    def late(self, result: Fate | SpoolFault | None) -> None:
        """How it ended."""
        if self._given_up is None:
            self._early.append(result)
        elif self._given_up and result is None:
            self._spool.count(HANDED, -self._handed)  # the file has counted it
            if not self._spool._stored_late(self._sequence):
                self._spool.forget(self._sequence)
        elif not self._given_up and result is not None:
            fate = result.fate if isinstance(result, SpoolFault) else result
            self._spool.count(HANDED, self._handed)
            self._spool.count(fate.value)

    def leave(self, *, given_up: bool) -> None:
        """Nobody waits from now on."""
        self._given_up = given_up
        loop = asyncio.get_running_loop()
        for result in self._early:  # once the caller has the packet in memory
            loop.call_soon(self.late, result)


def _post(loop: asyncio.AbstractEventLoop, hear: Callable[[T], None], word: T) -> None:
    """Into the event loop, if there still is one."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(hear, word)
