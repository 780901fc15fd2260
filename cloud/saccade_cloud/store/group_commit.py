"""Group commit: what many bring at once is committed together, in a thread of its own.

Nobody waits for company: while one commit runs, the next batch gathers by itself, so batches grow
exactly as far as the disk is slow.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
J = TypeVar("J")

BATCH_ROWS = 256  # some milliseconds of work
WAITING_ROWS = 2048
WAITING_BYTES = 32 << 20


@dataclass(slots=True)
class _Entry(Generic[T, R]):
    item: T
    size: int
    result: asyncio.Future[R]


class GroupCommit(Generic[T, R]):
    """``commit`` gets a batch and gives one result, or the exception to raise, for each item.

    What it raises, every item of its batch raises. Belongs to one event loop.
    """

    def __init__(
        self, commit: Callable[[Sequence[T]], Sequence[R | Exception]], rows: int = BATCH_ROWS
    ) -> None:
        self._commit = commit
        self._rows = rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saccade-store")
        self._entries: deque[_Entry[T, R]] = deque()
        self._held_rows = 0  # waiting or being committed
        self._held_bytes = 0
        self._room = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None

    async def put(self, item: T, size: int) -> asyncio.Future[R]:
        """Wait for room, then take ``item``; otherwise as ``offer``."""
        while (result := self.offer(item, size)) is None:
            self._room.clear()
            await self._room.wait()
        return result

    def offer(self, item: T, size: int) -> asyncio.Future[R] | None:
        """Take ``item`` of ``size`` bytes; its result comes with its commit. None: no room.

        A result that is done before its commit begins takes its item with it.
        """
        if self._held_rows >= WAITING_ROWS or self._held_bytes >= WAITING_BYTES:
            return None
        entry = _Entry[T, R](item, size, asyncio.get_running_loop().create_future())
        self._entries.append(entry)
        self._held_rows += 1
        self._held_bytes += size
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        return entry.result

    async def run(self, job: Callable[[], J]) -> J:
        """Something else for the same thread, between two commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, job)

    async def close(self) -> None:
        """Commit what waits and end the thread, once what it does is done."""
        if self._committing is not None:
            await self._committing
        await asyncio.to_thread(self._thread.shutdown)

    async def _commit_all(self) -> None:
        try:
            while batch := self._next():
                await self._commit_one(batch)
        finally:
            self._committing = None

    def _next(self) -> list[_Entry[T, R]]:
        batch: list[_Entry[T, R]] = []
        while self._entries and len(batch) < self._rows:
            entry = self._entries.popleft()
            if entry.result.done():
                self._release(entry)
            else:
                batch.append(entry)
        return batch

    async def _commit_one(self, batch: list[_Entry[T, R]]) -> None:
        items = [entry.item for entry in batch]
        committing = asyncio.ensure_future(self.run(lambda: self._commit(items)))
        await asyncio.wait({committing})
        error = committing.exception()
        results = [error] * len(batch) if error else committing.result()
        for entry, result in zip(batch, results, strict=True):
            self._release(entry)
            if entry.result.done():  # nobody waits any more
                continue
            if isinstance(result, BaseException):
                entry.result.set_exception(result)
            else:
                entry.result.set_result(result)

    def _release(self, entry: _Entry[T, R]) -> None:
        self._held_rows -= 1
        self._held_bytes -= entry.size
        self._room.set()
