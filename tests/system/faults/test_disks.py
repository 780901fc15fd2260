"""Disks that are full, read-only or fail to synchronise, at the edge and in the cloud."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from saccade_testing.disks import failing_syncs, fill, remount, small_disk
from saccade_testing.edge_process import NO_SPOOL, EdgeProcess
from saccade_testing.fault_scene import Process, Scene, packets_of, play
from saccade_testing.journal import handed, told

DISK = "4m"
UNLIMITED = resource.RLIM_INFINITY


@asynccontextmanager
async def broken(edge: EdgeProcess, how: str, disk: Path) -> AsyncIterator[None]:
    """The edge's disk, for a while."""
    if how == "no room on a small disk":
        fill(disk / "ballast")
        yield
        (disk / "ballast").unlink()
    elif how == "fdatasync fails":
        async with failing_syncs(edge.process.pid):
            yield
    else:
        word = {"no room in the database": "full", "read-only": "readonly"}[how]
        await edge.tell(f"{word} 1")
        yield
        await edge.tell(f"{word} 0")


@pytest.mark.parametrize(
    ("how", "counter"),
    [
        ("no room on a small disk", "disk_full"),
        ("no room in the database", "disk_full"),
        ("read-only", "read_only"),
        ("fdatasync fails", "io_error"),
    ],
)
def test_while_an_edges_disk_fails_frames_go_from_memory_and_the_rest_is_counted(
    scene: Scene, tmp_path: Path, how: str, counter: str
) -> None:
    async def story(disk: Path) -> None:
        packets = packets_of(tmp_path, 32)
        with scene.cloud() as (_, address):
            plan = scene.plan(address, spool=disk / "spool", packets=packets)
            async with plan.start() as edge:
                await edge.send(20)
                async with broken(edge, how, disk):
                    await edge.send(30)  # from memory, if the disk does not take them
                    await asyncio.sleep(1.0)
                    scene.stop_cloud()
                    await edge.until(told("ConnectionLost"))
                    await edge.send(250)
                    await edge.until(lambda j: j.count("SpoolTroubled", counter.upper()) > 0)
                await edge.until(lambda j: j.told_last("SpoolMended", "SpoolTroubled"))
                await edge.send(20)
                with scene.cloud("--listen", address):
                    await edge.end("drain")
        figures = scene.examine(f"edge's disk: {how}", plan)
        assert figures.captured == figures.handed == 320
        assert figures.in_spool == 0
        assert set(figures.counters) == {counter}
        assert 0 < figures.lost <= 250  # what was sent while there was a cloud is there

    with ExitStack() as stack:
        disk = tmp_path / "disk"
        disk.mkdir()
        if how == "no room on a small disk":
            stack.enter_context(small_disk(disk, DISK))
        play(lambda: story(disk))


def test_a_spool_that_is_full_drops_the_oldest_and_counts_them(
    scene: Scene, tmp_path: Path
) -> None:
    async def story() -> None:
        plan = scene.plan("127.0.0.1:9", packets=packets_of(tmp_path, 32), quota_bytes=600_000)
        async with plan.start() as edge:
            await edge.send(200)
            await edge.end("stop")
        with scene.cloud() as (_, address):
            async with replace(plan, cloud=address).start() as edge:
                await edge.end("drain")
        figures = scene.examine("spool full: 600 kB for 2 MB", plan)
        assert set(figures.counters) == {"quota"}
        assert figures.stored == 200 - figures.lost
        assert 40 < figures.stored < 60

    play(story)


def test_a_spool_on_a_disk_that_is_read_only_at_the_start_is_told_and_keeps_what_it_has(
    scene: Scene, tmp_path: Path
) -> None:
    async def story(disk: Path) -> None:
        plan = scene.plan("127.0.0.1:9", spool=disk / "spool")
        async with plan.start() as edge:
            await edge.send(30)
            await edge.end("stop")
        remount(disk, "ro")
        async with plan.start() as edge:
            await edge.ended(NO_SPOOL)
            assert edge.journal.count("SpoolFault", "read_only") == 1
        remount(disk, "rw")
        with scene.cloud() as (_, address):
            plan = scene.plan(address, spool=disk / "spool")
            async with plan.start() as edge:
                await edge.send(10)
                await edge.end("drain")
        figures = scene.examine("edge's disk: read-only at the start", plan)
        assert (figures.stored, figures.in_spool, figures.lost) == (40, 0, 0)

    with small_disk(tmp_path / "disk", DISK) as disk:
        play(lambda: story(disk))


@asynccontextmanager
async def cloud_broken(cloud: Process, how: str, disk: Path) -> AsyncIterator[None]:
    if how == "no room on a small disk":
        fill(disk / "ballast")
        yield
        (disk / "ballast").unlink()
    elif how == "fdatasync fails":
        async with failing_syncs(cloud.pid):
            yield
    else:  # a file that may not grow: to SQLite an I/O error
        most = (disk / "store.db-wal").stat().st_size
        resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, (most, UNLIMITED))
        yield
        resource.prlimit(cloud.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


@pytest.mark.parametrize(
    "how", ["no room on a small disk", "files may not grow", "fdatasync fails"]
)
def test_while_the_clouds_disk_fails_edges_keep_their_packets_and_none_is_lost(
    scene: Scene, tmp_path: Path, how: str
) -> None:
    async def story(disk: Path) -> None:
        store = disk / "store.db"
        with scene.cloud(store=store) as (cloud, address):
            plan = scene.plan(address, packets=packets_of(tmp_path, 16), every_s=0.02)
            async with plan.start() as edge:
                await edge.until(handed(20))
                async with cloud_broken(cloud, how, disk):
                    await edge.until(lambda j: j.count("ConnectionLost", "StorageError") > 1)
                    before = len(edge.journal.handed)
                    await edge.until(handed(before + 50))
                await edge.end("stop")
            async with scene.plan(address).start() as edge:
                await edge.end("drain")
            assert cloud.poll() is None
        figures = scene.examine(f"cloud's disk: {how}", plan, store=store)
        assert figures.captured > 70
        assert (figures.in_spool, figures.lost) == (0, 0)

    with ExitStack() as stack:
        disk = tmp_path / "disk"
        disk.mkdir()
        if how == "no room on a small disk":
            stack.enter_context(small_disk(disk, "3m"))
        play(lambda: story(disk))
