"""A store whose disk is slow, full or gone, and whose process is killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event

from saccade.errors import StorageError
from saccade_cloud.store.group_commit import WAITING_ROWS, GroupCommit
from saccade_cloud.store.retention import Retention
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.store_opening import open_database
from saccade_cloud.store.store_types import PacketRecord
from saccade_testing.cloud_server import until
from saccade_testing.disks import fill, small_disk
from saccade_testing.store_contract import FACTS, history, locked, noted, put, record


def with_store(
    path: Path,
    work: Callable[[SqlStore], Awaitable[None]],
    *,
    timeout_s: float = 5.0,
    max_pages: list[int] | None = None,
) -> None:
    """``max_pages``: the disk's size in pages of 4 KiB, as long as the list says so."""

    async def main() -> None:
        database = open_database(str(path))
        if max_pages is not None:

            @event.listens_for(database.engine, "begin")
            def _(connection: object) -> None:
                connection.exec_driver_sql(f"PRAGMA max_page_count = {max_pages[0]}")  # type: ignore[attr-defined]

        store = SqlStore(database, Retention(), timeout_s=timeout_s)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


class TestGroupCommit:
    def test_what_comes_while_a_commit_runs_is_committed_together(self) -> None:
        batches: list[list[int]] = []
        may_commit = threading.Event()

        def commit(items: Sequence[int]) -> list[int]:
            batches.append(list(items))
            assert may_commit.wait(10)
            return [item * 10 for item in items]

        async def main() -> None:
            group = GroupCommit[int, int](commit, 6)
            results = [await group.put(0, 1)]
            await until(lambda: len(batches) == 1)
            results += [await group.put(n, 1) for n in range(1, 10)]
            may_commit.set()
            assert await asyncio.gather(*results) == [n * 10 for n in range(10)]
            await group.close()

        asyncio.run(main())
        assert batches == [[0], [1, 2, 3, 4, 5, 6], [7, 8, 9]]

    def test_a_commit_that_fails_fails_its_own_batch_only(self) -> None:
        def commit(items: Sequence[str]) -> list[bool | Exception]:
            if "fire" in items:
                raise StorageError("the disk burns")
            return [StorageError("too wet") if item == "rain" else True for item in items]

        async def main() -> None:
            group = GroupCommit[str, bool](commit)
            results = [await group.put(item, 1) for item in ("fire", "x")]
            for result in results:
                with pytest.raises(StorageError, match="burns"):
                    await result
            results = [await group.put(item, 1) for item in ("rain", "x")]
            with pytest.raises(StorageError, match="wet"):
                await results[0]
            assert await results[1]
            await group.close()

        asyncio.run(main())

    def test_what_nobody_waits_for_any_more_is_not_committed(self) -> None:
        committed: list[int] = []
        may_commit = threading.Event()

        def commit(items: Sequence[int]) -> list[bool]:
            assert may_commit.wait(10)
            committed.extend(items)
            return [True] * len(items)

        async def main() -> None:
            group = GroupCommit[int, bool](commit)
            results = [await group.put(0, 1)]
            await asyncio.sleep(0.01)
            results += [await group.put(n, 1) for n in (1, 2)]
            results[0].cancel()
            results[1].cancel()
            may_commit.set()
            assert await results[2]
            await group.close()

        asyncio.run(main())
        assert committed == [0, 2]

    @pytest.mark.parametrize(("size", "room"), [(1, WAITING_ROWS), (1 << 20, 32)])
    def test_what_nobody_waits_for_gives_its_room_back(self, size: int, room: int) -> None:
        may_commit = threading.Event()

        def commit(items: Sequence[int]) -> list[bool]:
            assert may_commit.wait(10)
            return [True] * len(items)

        async def main() -> None:
            group = GroupCommit[int, bool](commit)
            for _ in range(3):
                may_commit.clear()
                results = [group.offer(n, size) for n in range(room)]
                assert None not in results, "all the room is there again"
                assert group.offer(room, size) is None
                for result in results:
                    assert result is not None
                    result.cancel()
                may_commit.set()
                await until(lambda: group._committing is None)
            await group.close()

        asyncio.run(main())

    def test_room_is_bounded_in_rows_and_in_bytes(self) -> None:
        may_commit = threading.Event()

        def commit(items: Sequence[int]) -> list[bool]:
            assert may_commit.wait(10)
            return [True] * len(items)

        async def main() -> None:
            for size, room in ((1, WAITING_ROWS), (1 << 20, 32)):
                may_commit.clear()
                group = GroupCommit[int, bool](commit)
                results = [group.offer(n, size) for n in range(room + 1)]
                assert [n for n, result in enumerate(results) if result is None] == [room]
                late = asyncio.create_task(group.put(room, size))
                await asyncio.sleep(0.02)
                assert not late.done()
                may_commit.set()
                assert await (await late)
                await group.close()

        asyncio.run(main())


def test_a_disk_that_hangs_fails_in_time_and_holds_up_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, record(1))
        with locked(path):
            started = time.monotonic()
            waiting = [await store.put(record(n)) for n in range(2, 5)]
            ticks = 0
            while not all(result.done() for result in waiting):
                await asyncio.sleep(0.01)
                ticks += 1
            assert time.monotonic() - started < 10
            assert ticks > 10, "the loop went on"
            for result in waiting:
                with pytest.raises(StorageError, match=r"committed nothing for 1\.5 s"):
                    await result
            assert await store.resume_after("kerb", FACTS.boot) == 1, "readers go on"
        for _ in range(100):  # the thread may still be in the wait that was given up
            with suppress(StorageError):
                assert await put(store, record(2)) == [True]
                return
        raise AssertionError("it did not recover")

    with_store(path, work, timeout_s=1.5)


def test_a_full_disk_refuses_nothing_for_ever(tmp_path: Path) -> None:
    max_pages = [60]

    async def work(store: SqlStore) -> None:
        stored = []
        with suppress(StorageError):
            for n in range(1, 2000):
                await put(store, record(n, bytes(3000)))
                stored.append(n)
        assert 10 < len(stored) < 100
        with pytest.raises(StorageError, match="full"):
            await put(store, record(1000, bytes(9000)))
        with pytest.raises(StorageError, match="full"):
            await store.note(noted(1, "x" * 100_000))
        assert await store.stored("kerb", FACTS.boot, range(2000)) == stored
        max_pages[0] = 10_000
        again = [record(n, bytes(3000)) for n in range(1, len(stored) + 10)]
        assert await put(store, *again) == [True] * len(again)
        await store.note(noted(1))
        assert len(await history(store)) == 1
        assert (await store.totals()).conflicts == 0

    with_store(tmp_path / "store.db", work, max_pages=max_pages)


def test_it_recovers_when_a_real_disk_was_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        with_store(disk / "store.db", lambda store: filled_and_emptied(store, disk / "ballast"))


async def filled_and_emptied(store: SqlStore, ballast: Path) -> None:
    assert await put(store, record(1)) == [True]
    fill(ballast)
    with pytest.raises(StorageError):
        await put(store, *(record(n, bytes(10_000)) for n in range(2, 200)))
    assert await store.packet(*record(1).identity) is not None
    ballast.unlink()
    again = [record(n, bytes(10_000)) for n in range(2, 30)]
    assert await put(store, *again) == [True] * len(again)


# Puts packets in waves and says each sequence once its commit is acknowledged.
WRITER = """
import asyncio, os, sys
from saccade_cloud.store.store_opening import open_database
from saccade_cloud.store.sql_store import SqlStore
from saccade_testing.cloud_server import until
from saccade_testing.store_contract import FACTS, record

async def say(result, sequence):
    assert await result
    os.write(1, b"%d\\n" % sequence)

async def main():
    store = SqlStore(open_database(sys.argv[1]))
    sequence = await store.resume_after("kerb", FACTS.boot)
    while True:
        wave = []
        for _ in range(25):
            sequence += 1
            wave.append(say(await store.put(record(sequence)), sequence))
        await asyncio.gather(*wave)

asyncio.run(main())
"""


def test_ten_times_killed_it_has_lost_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(7)
    acknowledged: list[int] = []
    for _ in range(10):
        acknowledged += killed_after(path, chance.randint(1, 400))
    assert len(acknowledged) > 500

    async def look(store: SqlStore) -> None:
        stored = await store.stored("kerb", FACTS.boot, range(acknowledged[-1] + 100))
        assert set(acknowledged) <= set(stored)
        for sequence in chance.sample(acknowledged, 100):
            found: PacketRecord | None = await store.packet("kerb", FACTS.boot, sequence)
            assert found is not None
            assert found.content == record(sequence).content

    with_store(path, look)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def killed_after(path: Path, lines: int) -> list[int]:
    """What a writer acknowledged until it was killed, some time after so many."""
    command = [sys.executable, "-c", WRITER, str(path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout is not None
        heard = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        heard += writer.stdout.readlines()
    assert heard[0], "it did not start"
    return [int(line) for line in heard if line.endswith(b"\n")]
