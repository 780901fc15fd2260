"""A camera's uplink with a spool, without a camera: packets that the test makes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from saccade.bundle import Bundle
from saccade.v1 import tokens_pb2
from saccade_edge.spool import Spool, SpoolEvent
from saccade_edge.uplink import Uplink, UplinkEvent, UplinkSettings
from saccade_testing.spools import Database, settings

T = TypeVar("T")


class SpooledEdge:
    """An uplink that runs, its spool and database, and the events that both have told."""

    def __init__(
        self, cloud: str, bundle: Bundle, spool: Spool, database: Database, **changes: Any
    ) -> None:
        quick = {"backoff_first_s": 0.02, "backoff_most_s": 0.05, "live": True}
        chosen = UplinkSettings(cloud, "kerb", ("north",), **{**quick, **changes})
        self.events: list[UplinkEvent | SpoolEvent] = []
        self._told = asyncio.Event()
        self.spool = spool
        self.database = database
        self.uplink = Uplink(chosen, bundle, self._hear, spool)
        self.running = asyncio.ensure_future(self.uplink.run())

    def _hear(self, event: UplinkEvent | SpoolEvent) -> None:
        self.events.append(event)
        self._told.set()

    async def send(self, *questions: str, size: int = 100, **how: Any) -> int:
        """One packet, captured now; its sequence."""
        sequence = self.spool.next_sequence()
        now_ms = time.time_ns() // 1_000_000
        packet = tokens_pb2.FramePacket(
            sequence=sequence,
            captured_ms=now_ms - self.uplink.identity.epoch_unix_ms,
            layers=[bytes(size)],
        )
        await self.uplink.send(packet, questions, **how)
        return sequence

    async def until(self, condition: Callable[[], bool], limit_s: float = 20.0) -> None:
        """Conditions are looked at after each event, and often enough in between."""
        ends = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < ends, f"not within {limit_s:g} s; told: {self.events}"
            self._told.clear()
            await asyncio.wait({asyncio.ensure_future(self._told.wait())}, timeout=0.05)

    async def end(self, drain_s: float = 10.0, *, retire: bool = False) -> bool:
        complete = await self.uplink.finish(drain_s, retire=retire)
        await asyncio.wait_for(self.running, 10)
        self.uplink.abandon()
        return complete

    def told(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def spooled_edge(
    cloud: str, bundle: Bundle, path: Path, **changes: Any
) -> AsyncIterator[SpooledEdge]:
    """``changes`` of the uplink's settings; those of the spool begin with ``spool_``."""
    spooled = {k.removeprefix("spool_"): v for k, v in changes.items() if k.startswith("spool_")}
    linked = {k: v for k, v in changes.items() if not k.startswith("spool_")}
    database = Database()
    chosen = settings(path, connect=database.connect, **spooled)
    spool = Spool.open(chosen, "kerb", bundle.token_digest, "north")
    edge = SpooledEdge(cloud, bundle, spool, database, **linked)
    try:
        yield edge
    finally:
        edge.running.cancel()
        await asyncio.wait({edge.running})
        await spool.close()
