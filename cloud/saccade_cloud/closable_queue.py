"""A bounded queue with an end: what lies between those who produce and the one who writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


class ClosableQueue(Generic[T]):
    """At most ``size`` items wait. Used from one event loop, iterated once."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: asyncio.Queue[T | _End] = asyncio.Queue()
        self._room = asyncio.Event()

    def offer(self, item: T) -> bool:
        """Append ``item`` if there is room for it."""
        if self._items.qsize() >= self._size:
            return False
        self._items.put_nowait(item)
        return True

    async def put(self, item: T) -> None:
        """Append ``item``, waiting for room."""
        while not self.offer(item):
            self._room.clear()
            await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """After what waits already, iteration ends; with ``error``, if one is given."""
        self._items.put_nowait(_End(error))

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            item = await self._items.get()
            self._room.set()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
