"""The durable store: SQLite or PostgreSQL behind group commit."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DataError

from saccade.errors import PacketError, StorageError
from saccade.tasks import end, within
from saccade_cloud.store import reading as queries
from saccade_cloud.store.database import Database, reading, upgrade, writing
from saccade_cloud.store.failure_log import FailureLog
from saccade_cloud.store.group_commit import BATCH_ROWS, GroupCommit
from saccade_cloud.store.retention import Retention
from saccade_cloud.store.store_types import Observation, PacketRecord, Totals
from saccade_cloud.store.writing import Record, row_bytes, write

log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2  # threads; hellos and histories are few beside packets
HISTORY_PAGE = 256
TEND_EVERY_S = 30.0
# All pages are read at least so long after the last time, and for at most a hundredth of the time.
EXAMINE_EVERY_S = 30.0
EXAMINE_SHARE = 0.01


class SqlStore:
    """A ``Store`` in ``database``. Create it inside the event loop that uses it.

    ``timeout_s`` bounds every wait, for room as for a commit. ``batch_rows`` is the most that one
    commit takes. Raises ``ConfigError`` for a database that can't be opened, or is too new.
    """

    durable = True

    def __init__(
        self,
        database: Database,
        retention: Retention | None = None,
        *,
        timeout_s: float = 5.0,
        batch_rows: int = BATCH_ROWS,
        examine_every_s: float = EXAMINE_EVERY_S,
    ) -> None:
        upgrade(database)
        self._failures = FailureLog()
        self._damage = ""  # what the last examination found
        self._examine_every_s = examine_every_s
        self._database = database
        self._retention = retention or Retention()
        self._timeout_s = timeout_s
        self._group = GroupCommit[Record, bool](self._commit, batch_rows)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="saccade-read")
        self._closed = False
        self._tasks = [asyncio.create_task(self._tend()), asyncio.create_task(self._watch())]
        for task in self._tasks:
            task.add_done_callback(_report_defect)

    async def put(self, packet: PacketRecord) -> asyncio.Future[bool]:
        """See ``Store.put``."""
        return await self._put(packet, len(packet.payload))

    async def note(self, observation: Observation) -> None:
        """See ``Store.note``."""
        result = await self._put(observation, len(observation.question) + len(observation.answer))
        await result

    async def resume_after(self, device: str, boot: int) -> int:
        """See ``Store.resume_after``."""
        return await self._read(partial(queries.resume_after, device=device, boot=boot))

    async def stored(self, device: str, boot: int, sequences: Collection[int]) -> list[int]:
        """See ``Store.stored``."""
        if not sequences:
            return []
        return await self._read(
            partial(queries.stored, device=device, boot=boot, sequences=sequences)
        )

    async def packet(self, device: str, boot: int, sequence: int) -> PacketRecord | None:
        """See ``Store.packet``."""
        return await self._read(
            partial(queries.packet_of, device=device, boot=boot, sequence=sequence)
        )

    async def history(
        self, device: str, camera: str, since_ns: int, until_ns: int, limit: int
    ) -> AsyncGenerator[Observation, None]:
        """See ``Store.history``."""
        after: queries.Place | None = None
        given = 0
        while not limit or given < limit:
            rows = min(HISTORY_PAGE, limit - given) if limit else HISTORY_PAGE
            page, after = await self._read(
                partial(
                    queries.history_page,
                    camera=(device, camera),
                    span_ns=(since_ns, until_ns),
                    after=after,
                    rows=rows,
                )
            )
            for observation in page:
                yield observation
            given += len(page)
            if after is None:
                return

    async def totals(self) -> Totals:
        """What is here. Walks through all rows."""
        return await self._read(partial(totals_of, self._database))

    async def tend(self) -> None:
        """Delete all that retention does not keep, now. Raises ``StorageError``."""
        while await self._group.run(partial(self._retention.step, self._database)):
            pass

    async def close(self) -> None:
        """See ``Store.close``."""
        if self._closed:
            return
        self._closed = True
        await end(*self._tasks)
        await self._group.close()
        await asyncio.to_thread(self._readers.shutdown)
        self._database.close()

    async def examine(self) -> None:
        """Read all pages, now. Raises ``StorageError`` where one is damaged: from then on nothing
        is stored, until they are found whole.
        """
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._readers, self._database.examine)
        except StorageError as error:
            self._damage = str(error)
            self._failures.failed(self._damage)
            raise
        self._damage = ""

    async def _put(self, record: Record, content: int) -> asyncio.Future[bool]:
        """Into the queue; the result fails when its commit takes too long."""
        if self._closed:
            raise StorageError(f"{self._database.place} is closed")
        size = row_bytes(content)
        result = self._group.offer(record, size)
        if result is None:
            result = await self._in_time(self._group.put(record, size), "took")
        waiting = asyncio.get_running_loop().call_later(self._timeout_s, self._give_up, result)
        result.add_done_callback(lambda _: waiting.cancel())
        return result

    def _give_up(self, result: asyncio.Future[bool]) -> None:
        """What is late is not known to be stored; should it be yet, a resend finds it."""
        if not result.done():
            result.set_exception(self._slow("committed"))

    async def _in_time(self, work: Awaitable[T], what: str) -> T:
        try:
            return await within(self._timeout_s, work)
        except asyncio.TimeoutError:
            raise self._slow(what) from None

    def _slow(self, what: str) -> StorageError:
        error = StorageError(f"{self._database.place} {what} nothing for {self._timeout_s:g} s")
        self._failures.failed(str(error))
        return error

    def _commit(self, records: Sequence[Record]) -> Sequence[bool | Exception]:
        """In the writer's thread. A record whose values no database takes fails alone."""
        if self._damage:
            raise StorageError(self._damage)
        try:
            with writing(self._database) as connection:
                results = write(connection, records)
        except StorageError as error:
            if not isinstance(error.__cause__, DataError):
                self._failures.failed(str(error))
                raise
            if len(records) == 1:
                return [PacketError(f"it can't be stored: {error}")]
            return [result for record in records for result in self._commit([record])]
        self._failures.worked()
        return results

    async def _read(self, query: Callable[[Connection], T]) -> T:
        def run() -> T:
            try:
                with reading(self._database) as connection:
                    return query(connection)
            except StorageError as error:
                self._failures.failed(str(error))
                raise
            except (ValueError, TypeError) as error:  # columns that we never wrote like this
                damage = f"{self._database.place} holds a damaged row: {error}"
                self._failures.failed(damage)
                raise StorageError(damage) from error

        loop = asyncio.get_running_loop()
        return await self._in_time(loop.run_in_executor(self._readers, run), "gave")

    async def _tend(self) -> None:
        while True:
            try:
                await self.tend()
            except StorageError as error:
                log.warning("retention: %s", error)
            await asyncio.sleep(TEND_EVERY_S)

    async def _watch(self) -> None:
        """Damage is noticed also where no row of ours is asked for."""
        while True:
            started = time.monotonic()
            with suppress(StorageError):  # it is in the log
                await self.examine()
            took_s = time.monotonic() - started
            await asyncio.sleep(max(self._examine_every_s, took_s / EXAMINE_SHARE))


def _report_defect(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the store is no longer tended or examined", exc_info=error)


def totals_of(database: Database, connection: Connection) -> Totals:
    """Of an opened database."""
    return Totals(
        used_bytes=database.used_bytes(connection),
        conflicts=queries.conflicts(connection),
        cameras=queries.cameras(connection),
    )
