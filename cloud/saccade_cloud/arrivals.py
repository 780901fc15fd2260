"""Calls whose first message has not come yet: they cost a place, and have shown nothing for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from saccade.errors import LimitExceeded, RemoteError
from saccade.tasks import end

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Arrival:
    reading: asyncio.Future[bytes | None]
    displaced: bool = False


class Arrivals:
    """At most ``most`` calls. A newer one takes the place of the oldest of the connection that has
    the most: an honest caller's message comes at once, and its connection has few such calls.

    Used from one event loop.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._by_peer: dict[str, list[_Arrival]] = {}
        self.displaced = 0  # so far

    def __len__(self) -> int:
        return self._count

    async def first(
        self, peer: str, message: Awaitable[bytes | None], limit_s: float
    ) -> bytes | None:
        """The first message of a call on connection ``peer``; None when the caller has none.

        Raises ``RemoteError`` when it does not come in time, ``LimitExceeded`` when the call had to
        make room.
        """
        self._make_room()
        arrival = _Arrival(asyncio.ensure_future(message))
        self._by_peer.setdefault(peer, []).append(arrival)
        self._count += 1
        try:
            done, _ = await asyncio.wait({arrival.reading}, timeout=limit_s)
        finally:
            self._forget(peer, arrival)
            await end(arrival.reading)
        if arrival.displaced:
            raise LimitExceeded(f"{self._most} calls have sent nothing yet, and a newer one came")
        if not done:
            raise RemoteError(f"the first message did not come within {limit_s:g} s")
        return arrival.reading.result()

    def _make_room(self) -> None:
        if self._count < self._most:
            return
        peer = max(self._by_peer, key=lambda each: len(self._by_peer[each]))
        oldest = self._by_peer[peer][0]
        self._forget(peer, oldest)
        oldest.displaced = True
        self.displaced += 1
        oldest.reading.cancel()

    def _forget(self, peer: str, arrival: _Arrival) -> None:
        waiting = self._by_peer.get(peer, [])
        if arrival in waiting:
            waiting.remove(arrival)
            self._count -= 1
            if not waiting:
                del self._by_peer[peer]
