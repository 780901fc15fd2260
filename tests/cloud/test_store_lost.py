"""A store whose file is gone, another's, cut or damaged: it says so and promises nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade.errors import ConfigError, StorageError
from saccade_cloud.store.failure_log import AGAIN_S, FailureLog
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.store_opening import open_database
from saccade_testing.cloud_server import EdgeEnd, Served, packet, question, serving
from saccade_testing.disks import small_disk
from saccade_testing.store_contract import FACTS, put, record

PAGE_BYTES = 4096


def with_store(path: Path, work: Callable[[SqlStore], Awaitable[None]]) -> None:
    async def main() -> None:
        store = SqlStore(open_database(str(path)))
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(main())


def deleted(path: Path) -> None:
    path.unlink()


def log_deleted(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def index_deleted(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def replaced(path: Path) -> None:
    """By a database that is as good as ours."""
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


def folder_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def cut(path: Path) -> None:
    os.truncate(path, PAGE_BYTES)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def garbled(path: Path, first_page: int = 2) -> None:
    """All pages but the first, in place, as a failing disk does."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek((first_page - 1) * PAGE_BYTES)
        file.write(os.urandom(size - (first_page - 1) * PAGE_BYTES))


def mounting(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def checkpointed(path: Path) -> None:
    """The file has what its log had."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(FULL)")
    connection.close()


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        (deleted, r"store\.db is gone while it is in use"),
        (log_deleted, r"store\.db-wal is gone"),
        (index_deleted, r"store\.db-shm is gone"),
        (replaced, r"store\.db was replaced by another file"),
        (folder_moved, r"store\.db is gone"),
        (cut, r"store\.db was cut to 4096 bytes"),
        (emptied, r"store\.db was cut to 0 bytes"),
    ],
)
def test_a_file_that_is_lost_is_noticed_before_anything_is_promised(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    happens: Callable[[Path], None],
    message: str,
) -> None:
    path = tmp_path / "here" / "store.db"

    async def work(store: SqlStore) -> None:
        assert await put(store, record(1), record(2)) == [True, True]
        checkpointed(path)
        assert await put(store, record(3)) == [True]
        happens(path)
        for n in range(4, 8):
            with pytest.raises(StorageError, match=message):
                await put(store, record(n))

    with_store(path, work)
    lines = [line for line in caplog.messages if line.startswith("the store fails: ")]
    assert len(lines) == 1, "once, not with every packet"


def test_a_file_that_is_put_back_is_stored_to_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, record(1))
        path.rename(tmp_path / "away.db")
        with pytest.raises(StorageError):
            await put(store, record(2))
        (tmp_path / "away.db").rename(path)
        assert await put(store, record(2)) == [True]
        assert await store.stored("kerb", FACTS.boot, [1, 2]) == [1, 2]

    with_store(path, work)
    assert "the store works again; 0 more failures" in caplog.text


def test_a_disk_that_is_unmounted_is_noticed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        path = disk / "store.db"

        async def work(store: SqlStore) -> None:
            assert await put(store, record(1)) == [True]
            mounting("umount", "-l", disk)
            with pytest.raises(StorageError, match="is gone while it is in use"):
                await put(store, record(2))
            mounting("mount", "-t", "tmpfs", "tmpfs", disk)  # for who unmounts it in the end

        with_store(path, work)


def test_the_files_own_shrinking_is_no_loss(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, *(record(n, bytes(4000)) for n in range(1, 501)))
        checkpointed(path)
        assert await put(store, record(900)) == [True]
        full = path.stat().st_size
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("DELETE FROM packet WHERE sequence < 490")
        connection.executescript("PRAGMA incremental_vacuum")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        assert path.stat().st_size < full / 2
        for n in range(1000, 1005):
            assert await put(store, record(n)) == [True]

    with_store(path, work)


def test_a_damaged_page_is_found_while_serving_and_nothing_is_promised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, *(record(n, bytes(3000)) for n in range(1, 50)))
        await store.examine()
        checkpointed(path)
        garbled(path)
        with pytest.raises(StorageError, match="is damaged: "):
            await store.examine()
        with pytest.raises(StorageError, match="is damaged: "):
            await put(store, record(100))
        assert "the store fails: " in caplog.text

    with_store(path, work)


@pytest.mark.parametrize("first_page", [2, 30])
def test_a_damaged_file_is_not_opened(tmp_path: Path, first_page: int) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, *(record(n, bytes(3000)) for n in range(1, 50)))

    with_store(path, work)
    garbled(path, first_page)
    with pytest.raises(ConfigError, match="the store can't be opened: .*(damaged|malformed)"):
        with_store(path, work)


def test_an_edge_hears_storage_and_keeps_its_packet(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def main() -> None:
        async with serving(bundle, store=str(path)) as served:
            await lost_under(served)

    async def lost_under(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await edge.say(packet=packet(1))
        assert (await edge.hear()).ack.stored
        deleted(path)
        for sequence in range(2, 5):
            await edge.say(packet=packet(sequence))
            failure = (await edge.hear()).failure
            assert (failure.code, failure.sequence) == ("storage", sequence)

    asyncio.run(main())


class TestFailureLog:
    def test_the_same_failure_is_said_once_a_minute_with_a_count(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        now_s = [0.0]
        failures = FailureLog(lambda: now_s[0])
        for _ in range(1000):
            failures.failed("no disk")
        now_s[0] = AGAIN_S
        failures.failed("no disk")
        failures.failed("another")
        assert caplog.messages == [
            "the store fails: no disk",
            "the store fails: no disk (999 more failures since)",
            "the store fails: another",
        ]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            failures.worked()
            failures.worked()
        assert caplog.messages == ["the store works again; 0 more failures of: another"]


def shorter(payload: bytes) -> bytes:
    return payload[: len(payload) // 2]


def flipped(payload: bytes) -> bytes:
    """In the middle of the layer."""
    at = len(payload) // 2
    return payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :]


@pytest.mark.parametrize("garble", [shorter, flipped])
def test_a_packet_that_was_garbled_in_its_row_is_reported_and_not_answered_about(
    bundle: Bundle,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    garble: Callable[[bytes], bytes],
) -> None:
    path = tmp_path / "store.db"

    async def first() -> None:
        async with serving(bundle, store=str(path)) as served:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet(1))
            assert (await edge.hear()).ack.stored

    async def second() -> None:
        async with serving(bundle, store=str(path)) as served:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(question=question(1))
            failure = (await edge.hear()).failure
            assert (failure.code, failure.question_id) == ("question", 1)
            assert "frame 1 cannot be read in the store" in failure.message

    asyncio.run(first())
    connection = sqlite3.connect(path)
    with connection:
        connection.create_function("garble", 1, garble)
        connection.execute("UPDATE packet SET payload = garble(payload)")
    connection.close()
    asyncio.run(second())
    assert "the stored packet 1 of 'kerb' cannot be read" in caplog.text


@pytest.mark.parametrize("garble", ["cameras = '[\"north\"'", "cameras = '7'"])
def test_a_session_that_was_garbled_in_its_row_is_a_storage_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, garble: str
) -> None:
    path = tmp_path / "store.db"

    async def work(store: SqlStore) -> None:
        await put(store, record(1))
        connection = sqlite3.connect(path)
        with connection:
            connection.execute(f"UPDATE session SET {garble}")
        connection.close()
        with pytest.raises(StorageError, match="holds a damaged row"):
            await store.packet(*record(1).identity)
        assert "holds a damaged row" in caplog.text

    with_store(path, work)
