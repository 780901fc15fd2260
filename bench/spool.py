"""What it costs to keep packets on disk: time of a write, commits, and what the event loop feels.

Packets come one after the other, as from one camera, and many at once, as from many; meanwhile a
task measures how long the event loop was away. The baseline is the same without the spool's thread:
SQLite in the event loop, a commit for each packet. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.common import quantiles, table
from saccade_edge.spool import Entry, Identity, Spool, SpoolSettings
from saccade_edge.spool.spool_file import SpoolFile
from saccade_edge.spool.spool_schema import connect

DIGEST = bytes(32)


@dataclass(frozen=True)
class Cost:
    """Milliseconds: of a write (median, 95th percentile), and the loop's longest absence."""

    write_ms: tuple[float, float]
    per_second: float
    commits: int
    absent_ms: float


class Absences:
    """How long the event loop was away, measured by a task that wants to run all the time."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            self.longest_s = max(self.longest_s, time.perf_counter() - began - 0.001)

    def end(self) -> float:
        """Milliseconds."""
        self._task.cancel()
        return round(self.longest_s * 1e3, 2)


def entry(sequence: int, size: int) -> Entry:
    return Entry(sequence, 0, time.time_ns() // 1_000_000, 0, bytes(size))


async def spooled(folder: Path, packets: int, at_once: int, size: int) -> Cost:
    """Through the spool's thread."""
    commits: list[str] = []
    settings = SpoolSettings(folder / "spool", connect=_counting(commits))
    spool = Spool.open(settings, "bench", DIGEST, "camera")
    spool.listen(print, lambda sequence: True)
    commits.clear()  # of opening it
    times: list[float] = []

    async def put(sequence: int) -> None:
        began = time.perf_counter()
        assert await spool.put(entry(sequence, size), sending=False) is None
        times.append((time.perf_counter() - began) * 1e3)

    absences = Absences()
    began = time.perf_counter()
    for first in range(1, packets + 1, at_once):
        await asyncio.gather(*(put(first + i) for i in range(at_once)))
    took_s = time.perf_counter() - began
    absent_ms = absences.end()
    cost = Cost(quantiles(times), round(len(times) / took_s, 1), len(commits), absent_ms)
    await spool.close()
    return cost


async def in_the_loop(folder: Path, packets: int, size: int) -> Cost:
    """The baseline."""
    fresh = Identity("bench", 1, 0, ("camera",))
    commits: list[str] = []
    settings = SpoolSettings(folder / "spool", connect=_counting(commits))
    file = SpoolFile.open(settings, DIGEST, fresh)
    commits.clear()
    times: list[float] = []
    absences = Absences()
    began = time.perf_counter()
    for sequence in range(1, packets + 1):
        start = time.perf_counter()
        with file.transaction():
            file.put(entry(sequence, size), sending=False)
        times.append((time.perf_counter() - start) * 1e3)
        await asyncio.sleep(0)
    took_s = time.perf_counter() - began
    cost = Cost(quantiles(times), round(packets / took_s, 1), len(commits), absences.end())
    file.close()
    return cost


def _counting(commits: list[str]) -> Callable[[Path], sqlite3.Connection]:
    """Opens a spool's database, whose commits are added from then on."""

    def hear(statement: str) -> None:
        if statement == "COMMIT":
            commits.append(statement)

    def opened(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(hear)
        return connection

    return opened


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--packets", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=200, help="of a packet")
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary one")
    options = parser.parse_args()
    costs: dict[str, Cost] = {}
    for name, at_once in (("one by one", 1), ("10 at once", 10), ("50 at once", 50)):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            work = spooled(Path(folder), options.packets, at_once, options.bytes)
            costs[name] = asyncio.run(work)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        work = in_the_loop(Path(folder), options.packets, options.bytes)
        costs["in the event loop"] = asyncio.run(work)
    columns = {
        name: {
            "write ms, median / p95": f"{cost.write_ms[0]:.2f} / {cost.write_ms[1]:.2f}",
            "packets a second": f"{cost.per_second:,.0f}",
            "commits": f"{cost.commits:,}",
            "event loop away, most ms": f"{cost.absent_ms:.1f}",
        }
        for name, cost in costs.items()
    }
    print(table(f"{options.packets:,} packets of {options.bytes} bytes", columns, width=20))
    print(
        json.dumps(
            {
                name: {
                    "write_ms": dict(zip(("median", "p95"), cost.write_ms, strict=True)),
                    "packets_per_second": cost.per_second,
                    "commits": cost.commits,
                    "loop_away_ms": cost.absent_ms,
                }
                for name, cost in costs.items()
            }
        )
    )


if __name__ == "__main__":
    main()
