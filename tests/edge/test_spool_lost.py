"""A spool whose files are deleted, replaced, cut or garbled while it is in use."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from saccade_edge.spool import Fate, SpoolMended, SpoolReborn, SpoolTroubled
from saccade_edge.spool.spool_inspection import look_into
from saccade_testing.commands import importing
from saccade_testing.spools import Opened, entry, opened

PAGE_BYTES = 4096


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within twenty seconds")


async def filled(it: Opened, path: Path, packets: int = 40) -> None:
    """Packets that nobody holds in memory, and all of them in the file itself."""
    for sequence in range(1, packets + 1):
        assert await it.spool.put(entry(sequence, size=1000), sending=False) is None
        it.spool.release(sequence)
    it.database.execute("PRAGMA wal_checkpoint(FULL)")
    assert await it.spool.put(entry(packets + 1), sending=False) is None


def deleted(path: Path) -> None:
    path.unlink()


def log_deleted(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def index_deleted(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, 2 * PAGE_BYTES)


def garbled(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(os.urandom(size - PAGE_BYTES))


@pytest.mark.parametrize("happens", [deleted, log_deleted, index_deleted, emptied, cut])
def test_a_file_that_is_lost_is_noticed_and_a_new_one_takes_its_place(
    tmp_path: Path, happens: Callable[[Path], None]
) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            await filled(it, path)
            boot = it.spool.identity.boot
            happens(path)
            reborn = await it.told(SpoolReborn)  # without a packet that asks for it
            assert isinstance(reborn, SpoolReborn)
            assert "the spool's file was lost while in use" in reborn.reason
            assert it.spool.identity.boot != boot
            assert await it.spool.put(entry(200), sending=False) is None
        report, _ = look_into(path)
        assert report.packets == 1, "what is said to be kept is there"
        assert report.handed == 42 == report.ended + report.packets
        assert report.counts["corrupt"] == 41

    play(test)


def test_what_is_put_right_after_the_loss_is_on_disk(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            await filled(it, path, 3)
            deleted(path)
            for sequence in range(100, 110):
                assert await it.spool.put(entry(sequence), sending=False) is None
        report, _ = look_into(path)
        assert report.packets == 10

    play(test)


def test_another_file_in_its_place_is_left_alone_and_memory_goes_on(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            await filled(it, path, 3)
            other = tmp_path / "diary.db"
            with sqlite3.connect(other) as diary:
                diary.execute("CREATE TABLE day (text TEXT)")
            diary.close()
            before = other.read_bytes()
            path.rename(tmp_path / "away")
            shutil.move(other, path)
            troubled = await it.told(SpoolTroubled)
            assert isinstance(troubled, SpoolTroubled)
            assert troubled.fate is Fate.LOST
            assert "was replaced by another file while it is in use" in troubled.detail
            assert await it.spool.put(entry(100), sending=False) is Fate.LOST
            assert it.spool.report().trouble == "lost"
            assert path.read_bytes() == before
            path.unlink()
            (tmp_path / "away").rename(path)
            await it.told(SpoolMended)
            assert await it.spool.put(entry(101), sending=False) is None
        report, _ = look_into(path)
        assert report.packets == 5

    play(test)


def test_under_a_disk_that_was_unmounted_no_new_file_is_made(tmp_path: Path) -> None:
    async def test() -> None:
        folder = tmp_path / "card"
        path = folder / "spool"
        async with opened(path) as it:
            await filled(it, path, 3)
            folder.rename(tmp_path / "pulled")
            folder.mkdir()
            await it.told(SpoolTroubled)
            assert await it.spool.put(entry(100), sending=False) is Fate.LOST
            assert list(folder.iterdir()) == []
            folder.rmdir()
            (tmp_path / "pulled").rename(folder)
            await it.told(SpoolMended)
            assert await it.spool.put(entry(101), sending=False) is None

    play(test)


def test_a_page_that_is_garbled_is_found_although_the_writer_has_it_in_its_cache(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            await filled(it, path)
            it.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            garbled(path)
            it.spool._examine()
            reborn = await it.told(SpoolReborn)
            assert isinstance(reborn, SpoolReborn)
            assert "the spool is corrupt and was moved to" in reborn.reason
            assert await it.spool.put(entry(200), sending=False) is None
        assert look_into(path)[0].packets == 1

    play(test)


def test_a_garbled_file_is_not_gone_on_with(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            await filled(it, path)
        with path.open("r+b") as file:
            file.seek(path.stat().st_size - PAGE_BYTES)
            file.write(os.urandom(PAGE_BYTES))
        async with opened(path) as it:
            assert isinstance(await it.told(SpoolReborn), SpoolReborn)
            assert it.spool.report().packets == 0

    play(test)


SECOND = """
import sys
from pathlib import Path
from saccade.errors import ConfigError
from saccade_testing.spools import DIGEST, settings
from saccade_edge.spool import Spool
try:
    Spool.open(settings(Path(sys.argv[1])), "kerb", DIGEST, "north")
except ConfigError as error:
    print(error)
else:
    print("in", flush=True)
    sys.stdin.read()
"""


def second(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SECOND, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=importing(),
    )  # fmt: skip


def test_a_lock_that_is_deleted_is_taken_anew_before_anybody_else_gets_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        lock = Path(f"{path}.lock")
        async with opened(path) as it:
            lock.unlink()
            await until(lock.exists)
            with second(path) as other:
                said, _ = await asyncio.to_thread(other.communicate)
            assert "is in use by another process" in said
            assert await it.spool.put(entry(1), sending=False) is None
        assert "was deleted or replaced while in use: it was locked anew" in caplog.text

    play(test)


def test_where_another_process_got_in_the_first_keeps_its_hands_off(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            assert await it.spool.put(entry(1), sending=False) is None
            # As a second process leaves it that was quicker than our once a second.
            taken = tmp_path / "taken.lock"
            with second(tmp_path / "taken") as other:
                assert other.stdout is not None
                assert await asyncio.to_thread(other.stdout.readline) == "in\n"
                taken.replace(f"{path}.lock")
                troubled = await it.told(SpoolTroubled)
                assert isinstance(troubled, SpoolTroubled)
                assert "is in use by another process" in troubled.detail
                assert await it.spool.put(entry(2), sending=False) is Fate.LOST
                other.communicate()
            await it.told(SpoolMended)
            assert await it.spool.put(entry(3), sending=False) is None

    play(test)


CRASH = """
import os, sys
from pathlib import Path
from saccade_testing.spools import DIGEST, settings
from saccade_edge.spool import Spool
spool = Spool.open(settings(Path(sys.argv[1])), "kerb", DIGEST, "north")
given = [(spool.next_sequence(), spool.next_question()) for _ in range(int(sys.argv[2]))]
print(*given[0], *given[-1], flush=True)
os._exit(9)
"""


def test_no_number_is_given_twice_although_nothing_of_it_was_kept(tmp_path: Path) -> None:
    """The process dies at once after it gave the numbers, again and again."""
    last = (0, 0)
    for count in (1, 5, 2000, 1):
        words = [sys.executable, "-c", CRASH, str(tmp_path / "spool"), str(count)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=importing())
        assert done.returncode == 9, done.stderr
        sequence, question, *ends = map(int, done.stdout.split())
        assert sequence > last[0]
        assert question > last[1]
        last = ends[0], ends[1]


def test_a_new_files_name_is_synchronised_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the file may be gone after a power cut, with all that was committed to it."""
    synchronised: list[Path] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synchronised.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    monkeypatch.setattr(os, "fsync", noted)

    async def test() -> None:
        async with opened(tmp_path / "spool"):
            assert tmp_path in synchronised

    play(test)
