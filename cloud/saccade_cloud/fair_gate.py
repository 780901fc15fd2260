"""A way through which only so many go at a time: those who wait are let in client by client."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from saccade_cloud.shared_places import SharedPlaces


class FairGate:
    """``places``: of those who are inside. Used from one event loop.

    A client's own keep their order. Nobody is refused: who is outside waits.
    """

    def __init__(self, places: SharedPlaces) -> None:
        self._places = places
        # Clients in the order of their turns.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def waiting(self) -> int:
        """Those who are outside, of all clients."""
        return sum(len(queue) for queue in self._waiting.values())

    @asynccontextmanager
    async def place(self, client: str) -> AsyncIterator[None]:
        """Wait for a place; it is free again after the block."""
        await self._enter(client)
        try:
            yield
        finally:
            self._leave(client)

    async def _enter(self, client: str) -> None:
        held = self._places.held(client)
        if client not in self._waiting and self._places.fits(client, held + 1):
            self._places.hold(client, held + 1)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(client, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let in and cancelled at once
                self._leave(client)
            else:
                self._forget_cancelled(client)
            raise

    def _leave(self, client: str) -> None:
        self._places.hold(client, self._places.held(client) - 1)
        while self._let_one_in():
            pass

    def _let_one_in(self) -> bool:
        for client in list(self._waiting):
            self._forget_cancelled(client)
        for client, queue in self._waiting.items():
            held = self._places.held(client)
            if self._places.fits(client, held + 1):
                self._places.hold(client, held + 1)
                turn = queue.popleft()
                del self._waiting[client]
                if queue:
                    self._waiting[client] = queue  # after all others
                turn.set_result(None)
                return True
        return False

    def _forget_cancelled(self, client: str) -> None:
        """Turns whose tasks were cancelled, and have perhaps not run since."""
        queue = self._waiting.get(client, deque())
        while queue and queue[0].cancelled():
            queue.popleft()
        if not queue:
            self._waiting.pop(client, None)
