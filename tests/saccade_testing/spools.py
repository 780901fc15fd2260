"""Spools to test with, and entries for them."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from saccade.turns import asking
from saccade.v1 import tokens_pb2
from saccade_edge.spool import Asked, Entry, Identity, Spool, SpoolEvent, SpoolSettings
from saccade_edge.spool.spool_file import SpoolFile
from saccade_edge.spool.spool_schema import connect

DIGEST = bytes(range(32))
NOW_MS = 1_800_000_000_000
FRESH = Identity("kerb", 0xB007, NOW_MS, ("north",))


def entry(
    sequence: int,
    *questions: str,
    size: int = 100,
    captured_unix_ms: int | None = None,
) -> Entry:
    """A packet that parses; questions have ids of their own."""
    captured_ms = time.time_ns() // 1_000_000 if captured_unix_ms is None else captured_unix_ms
    packet = tokens_pb2.FramePacket(sequence=sequence, layers=[bytes(size)])
    asked = tuple(Asked(sequence * 10 + i, asking(text)) for i, text in enumerate(questions))
    return Entry(sequence, 0, captured_ms, 0, packet.SerializeToString(), asked)


def settings(path: Path, **changes: Any) -> SpoolSettings:
    """``reserve_bytes`` 0: tests fill small disks to the brim."""
    return SpoolSettings(path, **{"reserve_bytes": 0, **changes})


def open_file(path: Path, **changes: Any) -> SpoolFile:
    return SpoolFile.open(settings(path, **changes), DIGEST, FRESH)


class Database:
    """A spool's connection to its database, for tests that break it or look at it: ``connect`` is
    for the spool's settings.
    """

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connection = connect(path)
        return self.connection

    def execute(self, statement: str) -> None:
        assert self.connection is not None
        self.connection.execute(statement)

    def trace(self, hear: Callable[[str], object]) -> None:
        """``hear`` every statement from now on."""
        assert self.connection is not None
        self.connection.set_trace_callback(hear)


class Opened:
    """A spool in the running event loop, its database, and what it has told."""

    def __init__(self, spool: Spool, database: Database) -> None:
        self.spool = spool
        self.database = database
        self.events: list[SpoolEvent] = []
        self.late: list[int] = []
        spool.listen(self.events.append, self._kept_late)

    def _kept_late(self, sequence: int) -> bool:
        self.late.append(sequence)
        return False

    async def told(self, kind: type[SpoolEvent]) -> SpoolEvent:
        """The first event of a kind, awaited for at most twenty seconds."""
        for _ in range(2000):
            for event in self.events:
                if isinstance(event, kind):
                    return event
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} among {self.events}")


@asynccontextmanager
async def opened(path: Path, *, device: str = "kerb", **changes: Any) -> AsyncIterator[Opened]:
    database = Database()
    chosen = settings(path, connect=database.connect, **changes)
    spool = Spool.open(chosen, device, DIGEST, "north")
    try:
        yield Opened(spool, database)
    finally:
        await spool.close()


def accounted(spool: Spool) -> bool:
    """Every packet that was handed over is in the spool or in one counter."""
    report = spool.report()
    return report.handed == report.ended + report.packets
