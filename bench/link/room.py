"""Room for so many bytes, given in the order in which it was asked for."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """A bound on bytes. What is larger than all of it is let in when nothing else is inside."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.used = 0

    def try_take(self, size: int) -> bool:
        """At once or not at all."""
        if self._waiting or not self._fits(size):
            return False
        self.used += size
        return True

    async def take(self, size: int) -> None:
        if self.try_take(size):
            return
        turn = (size, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            await turn[1]
        except asyncio.CancelledError:
            # Cancelled after its turn had come, it has what it asked for.
            self.give(0 if turn[1].cancelled() else size)
            raise

    def give(self, size: int) -> None:
        """Back what was taken; who has waited longest has it next."""
        self.used -= size
        while self._waiting and (self._waiting[0][1].done() or self._fits(self._waiting[0][0])):
            wanted, turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled while it stood here
                self.used += wanted
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return self.used + size <= self._limit or self.used == 0
