from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from saccade.errors import ConfigError
from saccade_edge.spool import (
    Fate,
    Spool,
    SpoolFault,
    SpoolMended,
    SpoolReborn,
    SpoolTroubled,
)
from saccade_edge.spool.spool_faults import at_opening
from saccade_edge.spool.spool_inspection import look_into
from saccade_testing.commands import importing
from saccade_testing.disks import remount, small_disk
from saccade_testing.spools import DIGEST, accounted, entry, opened, settings

DELIVERED = Fate.DELIVERED.value


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the test and sees that it leaves no thread behind."""
    asyncio.run(asyncio.wait_for(test(), 60))
    assert [t.name for t in threading.enumerate() if t.name == "saccade-spool"] == []


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """A process that can import what the tests can, to its end."""
    return subprocess.run(
        words, capture_output=True, text=True, timeout=100, check=False, env=importing()
    )


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within twenty seconds")


def test_notes_outlast_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            assert it.spool.noted("spent gate") == ""
            it.spool.note("spent gate", "1 2")
            it.spool.note("spent gate", "1 3")
        async with opened(tmp_path / "spool") as it:
            assert it.spool.noted("spent gate") == "1 3"

    play(test)


def test_what_is_put_is_there_after_a_restart_until_it_is_settled(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "deep" / "spool"
        asked = entry(1, "what is it?")
        async with opened(path) as first:
            assert first.spool.next_sequence() == 1
            assert await first.spool.put(asked, sending=True) is None
            identity = first.spool.identity
        async with opened(path) as second:
            assert second.spool.identity == identity
            assert second.spool.next_sequence() == 2
            assert second.spool.sent_until == 1
            assert await second.spool.page(8, 1 << 20) == [asked]
            assert await second.spool.page(8, 1 << 20) == []  # it is in memory now
            second.spool.settle(1, DELIVERED)
        report, waiting = look_into(path)
        assert (report.packets, waiting) == (0, [])
        assert report.counts == {"handed": 1, DELIVERED: 1}
        assert oct(path.stat().st_mode)[-3:] == "600"

    play(test)


def test_writes_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            statements: list[str] = []
            it.database.trace(statements.append)
            puts = (it.spool.put(entry(n), sending=False) for n in range(1, 101))
            assert await asyncio.gather(*puts) == [None] * 100
            assert 1 <= statements.count("COMMIT") <= 20
            assert it.spool.report().packets == 100

    play(test)


def test_the_event_loop_goes_on_while_the_disk_is_busy(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            gaps: list[float] = []
            done = asyncio.Event()

            async def watch() -> None:
                while not done.is_set():
                    began = time.perf_counter()
                    await asyncio.sleep(0)
                    gaps.append(time.perf_counter() - began)

            watching = asyncio.create_task(watch())
            with holding_the_lock(tmp_path / "spool"):
                assert await it.spool.put(entry(1), sending=False) is Fate.LOCKED
            done.set()
            await watching
            assert statistics.median(gaps) < 0.01  # the put took half a second

    play(test)


@contextmanager
def holding_the_lock(path: Path) -> Iterator[None]:
    """As somebody does who looks into the database with a tool that writes."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def test_a_locked_database_is_told_and_passes(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            assert await it.spool.put(entry(1), sending=True) is None
            with holding_the_lock(tmp_path / "spool"):
                assert await it.spool.put(entry(2), sending=True) is Fate.LOCKED
                assert isinstance(await it.told(SpoolTroubled), SpoolTroubled)
                assert it.spool.report().trouble == "locked"
                it.spool.settle(1, DELIVERED)  # must be done some time
                it.spool.count(Fate.LOCKED.value)  # 2, which nobody could deliver either
                assert await it.spool.page(8, 1 << 20) == []
            await it.told(SpoolMended)
            await until(lambda: it.spool.report().packets == 0)
            assert await it.spool.put(entry(3), sending=True) is None
        report, _ = look_into(tmp_path / "spool")
        assert report.counts == {"handed": 3, DELIVERED: 1, Fate.LOCKED.value: 1}
        assert accounted(it.spool)

    play(test)


def test_a_second_process_is_told_who_has_the_spool(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool"):
            script = (
                "import sys; from pathlib import Path; from saccade_testing.spools import *\n"
                "Spool.open(settings(Path(sys.argv[1])), 'kerb', DIGEST, 'north')"
            )
            words = [sys.executable, "-c", script, str(tmp_path / "spool")]
            done = await asyncio.to_thread(python, *words)
            assert "ConfigError" in done.stderr
            assert "in use by another process" in done.stderr
            report, _ = look_into(tmp_path / "spool")  # but looking is allowed
            assert report.device == "kerb"
        async with opened(tmp_path / "spool"):
            pass  # the lock went with its owner

    play(test)


def test_a_corrupt_file_is_moved_aside_and_a_new_boot_begins(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as first:
            assert await first.spool.put(entry(1), sending=True) is None
            boot = first.spool.identity.boot
        path.write_bytes(b"no database" * 1000)
        async with opened(path) as second:
            event = await second.told(SpoolReborn)
            assert isinstance(event, SpoolReborn)
            (aside,) = sorted(tmp_path.glob("spool.corrupt-*"))
            assert str(aside) in event.reason
            assert aside.read_bytes().startswith(b"no database")
            assert second.spool.identity.boot != boot
            assert second.spool.report().counts == {"corrupt_files": 1}
            assert await second.spool.put(entry(1), sending=True) is None

    play(test)


def test_a_file_that_becomes_corrupt_costs_what_is_only_there(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path) as it:
            for sequence in range(1, 41):
                assert await it.spool.put(entry(sequence, size=4000), sending=True) is None
            for sequence in range(1, 31):
                it.spool.release(sequence)  # 31 to 40 are also in memory
            await it.spool.mark_sent(40)  # by then that is done
            boot = it.spool.identity.boot
            it.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            pages = path.stat().st_size // 4096
            with path.open("r+b") as raw:
                for page in range(1, pages):  # all but the first
                    raw.seek(page * 4096)
                    raw.write(os.urandom(4096))
            it.database.execute("PRAGMA cache_size = 0")
            it.database.execute("PRAGMA shrink_memory")
            assert await it.spool.put(entry(41), sending=True) is None
            event = await it.told(SpoolReborn)
            assert isinstance(event, SpoolReborn)
            assert event.lost == 30
            assert it.spool.identity.boot != boot
            for sequence in range(31, 41):
                it.spool.settle(sequence, DELIVERED)  # the cloud had them from memory
            await until(lambda: it.spool.report().delivered == 10)
            counts = it.spool.report().counts
            assert (counts["handed"], counts["corrupt"], counts["corrupt_files"]) == (41, 30, 1)
            assert it.spool.report().packets == 1
            assert accounted(it.spool)
            assert it.spool.trouble is None

    play(test)


def test_a_hanging_disk_holds_nobody_up_and_its_write_is_not_counted_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            hang = threading.Event()
            it.spool._owe(lambda file: hang.wait(20))
            began = time.monotonic()
            assert await it.spool.put(entry(1), sending=True) is Fate.STALLED
            assert time.monotonic() - began < 8
            it.spool.count(DELIVERED)  # it went from memory
            hang.set()
            await until(lambda: it.late == [1])
            await until(lambda: it.spool.report().packets == 0)
            assert it.spool.report().counts == {"handed": 1, DELIVERED: 1}

    play(test)


def test_a_cancelled_put_is_kept_or_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            hang = threading.Event()
            it.spool._owe(lambda file: hang.wait(20))
            putting = asyncio.create_task(it.spool.put(entry(1), sending=True))
            await asyncio.sleep(0.05)
            putting.cancel()
            await asyncio.wait({putting})
            hang.set()
            await until(lambda: it.spool.report().packets == 1)
            assert accounted(it.spool)

    play(test)


def test_old_packets_expire(tmp_path: Path) -> None:
    async def test() -> None:
        now_ms = time.time_ns() // 1_000_000
        async with opened(tmp_path / "spool") as it:
            old = entry(1, captured_unix_ms=now_ms - 2 * 3_600_000)
            assert await it.spool.put(old, sending=False) is None
            assert await it.spool.put(entry(2), sending=False) is None
        async with opened(tmp_path / "spool", keep_hours=1) as it:
            await until(lambda: it.spool.report().packets == 1)
            assert it.spool.report().counts == {"handed": 2, Fate.EXPIRED.value: 1}

    play(test)


def test_a_new_boot_is_written_down(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            before = it.spool.identity
            assert await it.spool.put(entry(1), sending=True) is None
            it.spool.reborn("a test")
            after = it.spool.identity
            assert after.boot != before.boot
            assert after.epoch_unix_ms == before.epoch_unix_ms
            assert it.spool.sent_until == 0
        async with opened(tmp_path / "spool") as it:
            assert it.spool.identity == after
            assert it.spool.sent_until == 0
            assert it.spool.report().counts == {"handed": 1, "reborn": 1}
            assert it.spool.report().packets == 1

    play(test)


def test_when_the_numbers_run_out_a_new_boot_begins(tmp_path: Path) -> None:
    """On a disk that is out of order for hours: what was given then is not given again."""

    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            boot = it.spool.identity.boot
            it.spool._sequences.given = int(it.spool._sequences.reserved) + 1
            assert await it.spool.put(entry(1), sending=True) is None
            assert it.spool.identity.boot != boot

    play(test)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, SpoolFault),
        (errno.ENOSPC, SpoolFault),
        (errno.EIO, SpoolFault),
        (errno.EACCES, ConfigError),
        (errno.ENOTDIR, ConfigError),
    ],
)
def test_a_disk_in_trouble_is_told_from_a_wrong_path(number: int, kind: type) -> None:
    assert isinstance(at_opening(OSError(number, os.strerror(number))), kind)


def test_a_path_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the spool cannot be opened"):
        Spool.open(settings(tmp_path / "file" / "spool"), "kerb", DIGEST, "north")
    with pytest.raises(ConfigError, match="is a folder"):
        Spool.open(settings(tmp_path), "kerb", DIGEST, "north")
    with pytest.raises(ConfigError, match="there is no spool"):
        look_into(tmp_path / "gone")
    with pytest.raises(ConfigError, match="is no spool"):
        look_into(tmp_path / "file")


FULL = """
import asyncio, json, resource, sys
from pathlib import Path
from saccade_testing.spools import *

async def main():
    async with opened(Path(sys.argv[1])) as it:
        assert await it.spool.put(entry(1), sending=True) is None
        size = Path(sys.argv[1]).stat().st_size + 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        fates = [await it.spool.put(entry(n, size=9000), sending=True) for n in range(2, 60)]
        lost = [fate.value for fate in fates if fate]
        for fate in lost:
            it.spool.count(fate)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        await it.told(SpoolMended)
        again = await it.spool.put(entry(60), sending=True)
        packets = it.spool.report().packets
        print(json.dumps([sorted(set(lost)), again, accounted(it.spool), packets]))

from saccade_edge.spool import SpoolMended
asyncio.run(main())
"""


def test_a_disk_that_fails_to_write_is_told_and_the_spool_goes_on_after_it(tmp_path: Path) -> None:
    """A file that may not grow: to SQLite an I/O error, in a process of its own."""
    words = [sys.executable, "-c", FULL, str(tmp_path / "spool")]
    done = python(*words)
    assert done.stderr == ""
    fates, again, accounted_for, packets = json.loads(done.stdout)
    assert fates == ["io_error"]
    assert again is None
    assert accounted_for
    assert packets > 5


def test_a_full_disk_is_told_and_the_spool_goes_on_after_it(tmp_path: Path) -> None:
    async def test(disk: Path) -> None:
        async with opened(disk / "spool") as it:
            (disk / "others").write_bytes(bytes(2_000_000))
            fates = [await it.spool.put(entry(n, size=9000), sending=True) for n in range(1, 200)]
            lost = [fate for fate in fates if fate is not None]
            assert set(lost) == {Fate.DISK_FULL}
            assert fates[:10] == [None] * 10
            for fate in lost:
                it.spool.count(fate.value)
            (disk / "others").unlink()
            await it.told(SpoolMended)
            assert await it.spool.put(entry(200), sending=True) is None
            assert accounted(it.spool)
            kept = it.spool.report().packets
        async with opened(disk / "spool") as it:
            assert it.spool.report().packets == kept == fates.count(None) + 1
            assert accounted(it.spool)

    with small_disk(tmp_path / "disk", "4m") as disk:
        play(lambda: test(disk))


def test_on_its_own_full_disk_the_spool_keeps_the_newest(tmp_path: Path) -> None:
    """With a reserve the spool never locks itself out: the oldest goes, and is counted."""

    async def test(disk: Path) -> None:
        async with opened(disk / "spool", reserve_bytes=2_000_000) as it:
            for sequence in range(1, 601):
                assert await it.spool.put(entry(sequence, size=9000), sending=True) is None
                it.spool.release(sequence)
            counts = it.spool.report().counts
            assert counts[Fate.DISK_FULL.value] > 100
            assert it.spool.trouble is None
            assert accounted(it.spool)
            page = await it.spool.page(1000, 1 << 30)
            assert page[-1].sequence == 600
            assert [e.sequence for e in page] == list(range(601 - len(page), 601))

    with small_disk(tmp_path / "disk", "6m") as disk:
        play(lambda: test(disk))


def test_a_disk_that_becomes_read_only_is_told_and_passes(tmp_path: Path) -> None:
    async def test(disk: Path) -> None:
        async with opened(disk / "spool") as it:
            assert await it.spool.put(entry(1), sending=True) is None
        remount(disk, "ro")
        try:
            with pytest.raises(SpoolFault) as fault:
                Spool.open(settings(disk / "spool"), "kerb", DIGEST, "north")
            assert fault.value.fate is Fate.READ_ONLY
            assert look_into(disk / "spool")[0].packets == 1
        finally:
            remount(disk, "rw")
        async with opened(disk / "spool") as it:
            assert it.spool.report().packets == 1

    with small_disk(tmp_path / "disk", "4m") as disk:
        play(lambda: test(disk))


def test_a_database_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    """The portable half of the test above: SQLite refuses as it does on a read-only disk."""

    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            it.database.execute("PRAGMA query_only = ON")
            assert await it.spool.put(entry(1), sending=True) is Fate.READ_ONLY
            event = await it.told(SpoolTroubled)
            assert isinstance(event, SpoolTroubled)
            assert event.fate is Fate.READ_ONLY
            it.database.execute("PRAGMA query_only = OFF")
            await it.told(SpoolMended)
            assert await it.spool.put(entry(2), sending=True) is None

    play(test)


BROKEN = """
import asyncio, json, sys
from pathlib import Path
from saccade_edge.spool import SpoolMended
from saccade_testing.spools import *

async def main():
    async with opened(Path(sys.argv[1])) as it:
        fates = [await it.spool.put(entry(n), sending=True) for n in range(1, 40)]
        lost = [fate.value for fate in fates if fate]
        for fate in lost:
            it.spool.count(fate)
        await it.told(SpoolMended)
        again = await it.spool.put(entry(40), sending=True)
        kept = [n for n, fate in enumerate(fates, 1) if fate is None] + [40]
        print(json.dumps([sorted(set(lost)), again, accounted(it.spool), kept]))

asyncio.run(main())
"""


def test_a_synchronisation_that_fails_is_an_error_and_passes(tmp_path: Path) -> None:
    """The kernel's answer to fdatasync is EIO for three times, in the thread that writes."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not here to make fdatasync fail")
    calls = "fdatasync,fsync"
    injected = ("-f", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when=20..22")
    words = [strace, *injected, "-o", os.devnull, sys.executable, "-c", BROKEN]
    done = python(*words, str(tmp_path / "spool"))
    if "ptrace" in done.stderr or "PTRACE" in done.stderr:
        pytest.skip(f"strace may not trace here: {done.stderr.strip()}")
    assert done.stderr == ""
    fates, again, accounted_for, kept = json.loads(done.stdout)
    assert fates == ["io_error"]
    assert (again, accounted_for) == (None, True)

    async def test() -> None:
        async with opened(tmp_path / "spool") as it:
            there = [e.sequence for e in await it.spool.page(100, 1 << 20)]
            assert set(kept) <= set(there)  # what was said to be kept is

    play(test)
