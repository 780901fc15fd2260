from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import PacketError
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import to_failure
from saccade_edge.spool import Fate, SpoolMended, SpoolReborn, SpoolTroubled
from saccade_edge.uplink import Acknowledged, Answered, Connected, ConnectionLost, Refused
from saccade_edge.uplink.link_state import Bounds
from saccade_testing.scripted_cloud import Line, ScriptedCloud, honest, scripted_cloud, serve
from saccade_testing.spooled_edge import spooled_edge
from saccade_testing.spools import accounted
from saccade_testing.storing_cloud import Store

NOBODY = "127.0.0.1:9"
DELIVERED = Fate.DELIVERED.value


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def sequences(cloud: ScriptedCloud, line: int = 0) -> list[int]:
    return [p.sequence for p in cloud.lines[line].said("packet")]


async def silent(line: Line) -> None:
    """Hears all and says nothing after its welcome."""
    await line.greet()
    while await line.hear() is not None:
        pass


def silent_until(
    release: asyncio.Event, **limits: int
) -> Callable[[Line], Coroutine[Any, Any, None]]:
    """Hears one packet, and acknowledges it and serves only once it may."""

    async def play_it(line: Line) -> None:
        await line.greet(limits=pb.Limits(**limits))
        first = await line.hear()
        assert first is not None
        await release.wait()
        await line.ack(first.packet)
        await serve(line)

    return play_it


def test_what_was_captured_without_a_cloud_comes_when_there_is_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    """In a later run, the oldest first, with its questions."""

    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool") as edge:
            for _ in range(40):
                await edge.send("what is it?")
            began = time.monotonic()
            assert not await edge.end(retire=True)
            assert time.monotonic() - began < 3  # nobody waits for a link that is not there
            identity = edge.spool.identity
        async with scripted_cloud(bundle) as cloud:
            async with spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge:
                assert await edge.end()
                assert edge.told(Connected)[0].backlog == 40
                answers = edge.told(Answered)
                assert [a.sequence for a in answers] == list(range(1, 41))
                assert {(a.camera, a.text) for a in answers} == {("north", "blue car")}
                assert not any(a.live for a in edge.told(Acknowledged))
                assert edge.spool.report().counts == {"handed": 40, DELIVERED: 40}
            (hello,) = cloud.lines[0].said("hello")
            assert (hello.boot, hello.epoch_unix_ms) == (identity.boot, identity.epoch_unix_ms)
            assert sequences(cloud) == list(range(1, 41))

    play(test)


def test_live_goes_before_the_backlog_and_the_newest_first(bundle: Bundle, tmp_path: Path) -> None:
    release = asyncio.Event()
    slow = silent_until(release, in_flight_packets=1)

    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool") as edge:
            for _ in range(3):
                await edge.send()
            await edge.end(retire=True)
        async with (
            scripted_cloud(bundle, slow) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool", deadline_s=30.0) as edge,
        ):
            await edge.until(lambda: cloud.lines != [] and sequences(cloud) == [1])
            for _ in range(3):
                await edge.send()
            release.set()
            assert await edge.end()
            # The first of the backlog, before there was anything live; then live, then the rest.
            assert sequences(cloud) == [1, 6, 5, 4, 2, 3]

    play(test)


def test_what_is_held_goes_in_time_once_the_link_moves_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    """And it is on disk meanwhile: where the link does not move, nothing is lost."""
    release = asyncio.Event()
    stuck = silent_until(release)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, stuck) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool", deadline_s=2.0) as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            edge.uplink.pace_backlog(0)  # as the budget says while a packet is overdue
            await edge.send()
            await edge.until(lambda: edge.uplink.state.unacknowledged_s > 2.0)
            await edge.send("what was it?", held=True)
            await edge.until(lambda: edge.uplink.state.waiting == 0)  # too late, to the spool
            for _ in range(2):
                await edge.send("what is it?", held=True)
            assert sequences(cloud) == [1]
            assert edge.spool.waiting == 4
            release.set()
            await edge.until(lambda: len(edge.told(Answered)) == 2)
            edge.uplink.pace_backlog(1e6)
            assert await edge.end()
            assert sequences(cloud) == [1, 4, 3, 2]
            lived = {a.sequence: a.live for a in edge.told(Acknowledged)}
            assert lived == {1: True, 4: True, 3: True, 2: False}
            assert edge.spool.report().counts == {"handed": 4, DELIVERED: 4}

    play(test)


def test_what_is_not_said_in_time_falls_behind_and_comes_all_the_same(
    bundle: Bundle, tmp_path: Path
) -> None:
    release = asyncio.Event()
    slow = silent_until(release, in_flight_packets=1)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, slow) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool", deadline_s=0.3) as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            await edge.send()
            await edge.until(lambda: sequences(cloud) == [1])
            await edge.send("what was it?")
            assert edge.uplink.state.waiting == 1
            await edge.until(lambda: edge.uplink.state.waiting == 0)
            assert edge.uplink.state.unacknowledged_s > 0.2
            release.set()
            assert await edge.end()
            assert {a.sequence: a.live for a in edge.told(Acknowledged)} == {1: True, 2: False}
            assert [a.sequence for a in edge.told(Answered)] == [2]

    play(test)


def test_a_frame_that_is_not_for_now_waits_for_an_idle_link(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            scripted_cloud(bundle) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            await edge.send("what was it?", live=False)
            assert edge.uplink.state.waiting == 0
            assert await edge.end()
            assert [a.live for a in edge.told(Acknowledged)] == [False]
            assert [a.text for a in edge.told(Answered)] == ["blue car"]

    play(test)


def test_the_backlog_has_little_in_flight(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool") as edge:
            for _ in range(20):
                await edge.send(size=1000)
            await edge.end(retire=True)
        bounds = Bounds(backlog_packets=8, backlog_bytes=2500)
        async with (
            scripted_cloud(bundle, silent) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool", bounds=bounds) as edge,
        ):
            await edge.until(lambda: cloud.lines != [] and len(sequences(cloud)) == 2)
            await asyncio.sleep(0.5)
            assert sequences(cloud) == [1, 2]
            await edge.end(0.1, retire=True)

    play(test)


def test_a_paced_backlog_takes_its_time(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool") as edge:
            for _ in range(10):
                await edge.send(size=1000)
            await edge.end(retire=True)
        async with (
            scripted_cloud(bundle) as cloud,
            spooled_edge(
                cloud.address,
                bundle,
                tmp_path / "spool",
                bounds=Bounds(backlog_bytes_per_s=5000.0),
            ) as edge,
        ):
            began = time.monotonic()
            assert await edge.end(30)
            assert time.monotonic() - began > 1.0  # 10 kB, half a second of them at once

    play(test)


def test_the_cloud_is_asked_what_it_has_and_that_is_not_said_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def breaks(line: Line) -> None:
        await line.greet()
        while len(line.said("packet")) < 4 or len(line.said("question")) < 1:
            await line.hear()
        await line.context.abort(grpc.StatusCode.UNAVAILABLE, "the tunnel")

    async def remembers(line: Line) -> None:
        await line.greet(stored=[1, 2, 4])
        await serve(line)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, breaks, remembers) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool", deadline_s=0.2) as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            for questions in ((), (), (), ("what is it?",)):
                await edge.send(*questions)
            await edge.until(lambda: len(edge.told(ConnectionLost)) == 1)
            await edge.until(lambda: len(edge.told(Connected)) == 2)
            assert await edge.end()
            assert sorted(cloud.lines[1].said("hello")[0].in_doubt) == [1, 2, 3, 4]
            # 4 is stored, but its question needs it on this stream.
            assert sorted(sequences(cloud, 1)) == [3, 4]
            assert [a.sequence for a in edge.told(Answered)] == [4]
            assert edge.spool.report().counts == {"handed": 4, DELIVERED: 4}

    play(test)


def test_without_an_answer_about_doubts_all_is_said_again(bundle: Bundle, tmp_path: Path) -> None:
    async def breaks(line: Line) -> None:
        await line.greet()
        while len(line.said("packet")) < 2:
            await line.hear()
        await line.context.abort(grpc.StatusCode.UNAVAILABLE, "the tunnel")

    async def newer(line: Line) -> None:
        """Has stored the second, not the first: its last sequence says nothing about the first."""
        await line.greet(resume_after=2)
        await serve(line)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, breaks, newer) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            await edge.send()
            await edge.send()
            await edge.until(lambda: len(edge.told(Connected)) == 2)
            assert await edge.end()
            assert sorted(sequences(cloud, 1)) == [1, 2]
            assert edge.told(SpoolReborn) == []

    play(test)


def test_a_spool_that_was_rolled_back_takes_a_new_boot(bundle: Bundle, tmp_path: Path) -> None:
    store = Store(bundle)

    async def test() -> None:
        path = tmp_path / "spool"
        async with scripted_cloud(bundle, store.script) as cloud:
            async with spooled_edge(cloud.address, bundle, path) as edge:
                await edge.until(lambda: edge.told(Connected) != [])
                await edge.send(size=10)
                assert await edge.end()
            shutil.copy(path, tmp_path / "backup")
            async with spooled_edge(cloud.address, bundle, path) as edge:
                await edge.until(lambda: edge.told(Connected) != [])
                for _ in range(3):
                    await edge.send(size=20)  # 2, 3 and 4
                assert await edge.end()
            old_boot = edge.spool.identity.boot
            shutil.copy(tmp_path / "backup", path)
            async with spooled_edge(NOBODY, bundle, path) as edge:
                assert [await edge.send(size=30) for _ in range(2)] == [2, 3]  # as before
                await edge.end(retire=True)
            async with spooled_edge(cloud.address, bundle, path) as edge:
                assert await edge.end()
                assert "the cloud has packet 4, the spool has noted 1" in (
                    edge.told(SpoolReborn)[0].reason
                )
                assert edge.spool.identity.boot != old_boot
                assert edge.spool.report().delivered == 3
        assert store.mistaken == []
        assert len(store.packets) == 4 + 2

    play(test)


def test_what_is_added_while_a_stream_begins_is_said_only_once_that_is_written_down(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Else the cloud, on the next stream, knew more than the spool: as after a roll-back."""

    async def dies(line: Line) -> None:
        await line.greet()
        while not line.said("packet"):
            await line.hear()
        await line.context.abort(grpc.StatusCode.UNAVAILABLE, "the tunnel")

    async def knows(line: Line) -> None:
        await line.greet(resume_after=1, stored=[1])
        await serve(line)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, dies, knows) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            mark_sent = edge.spool.mark_sent

            async def added_meanwhile(sequence: int) -> None:
                await mark_sent(sequence)
                if edge.spool.report().handed == 0:
                    await edge.send()

            edge.spool.mark_sent = added_meanwhile  # type: ignore[method-assign]
            await edge.until(lambda: edge.told(ConnectionLost) != [])
            assert edge.spool._worker.file.sent_until == 1
            assert await edge.end()
            assert edge.told(SpoolReborn) == []

    play(test)


def test_a_refused_packet_is_gone_and_counted_with_its_reason(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def refuses(line: Line) -> None:
        await line.greet()
        await line.hear()
        await line.say(failure=to_failure(PacketError("a packet without layers"), sequence=1))
        await serve(line)

    async def test() -> None:
        async with (
            scripted_cloud(bundle, refuses) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            await edge.send()
            await edge.until(lambda: edge.told(Refused) != [])
            await edge.send()
            assert await edge.end()
            counts = edge.spool.report().counts
            assert counts == {"handed": 2, DELIVERED: 1, "refused:packet": 1}

    play(test)


def test_what_the_cloud_did_not_store_stays(bundle: Bundle, tmp_path: Path) -> None:
    async def forgetful(line: Line) -> None:
        await line.greet()
        while (message := await line.hear()) is not None:
            if message.HasField("packet"):
                await line.say(ack=pb.Acknowledgement(sequence=message.packet.sequence))
            elif message.HasField("question"):
                await line.answer(message.question, "blue car")

    async def test() -> None:
        path = tmp_path / "spool"
        async with (
            scripted_cloud(bundle, forgetful) as cloud,
            spooled_edge(cloud.address, bundle, path) as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            await edge.send()
            await edge.send("what is it?")
            await edge.until(lambda: len(edge.told(Acknowledged)) == 2)
            await edge.until(lambda: len(edge.told(Answered)) == 1)
            await asyncio.sleep(0.5)
            assert sequences(cloud) == [1, 2]  # and is not said all the time
            assert not await edge.end(0.2, retire=True)
            assert edge.spool.report().packets == 2
        async with (
            scripted_cloud(bundle) as cloud,
            spooled_edge(cloud.address, bundle, path) as edge,
        ):
            assert await edge.end()
            assert edge.spool.report().delivered == 2

    play(test)


def test_while_the_disk_fails_live_frames_go_from_memory_and_the_rest_is_counted(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def test() -> None:
        async with (
            scripted_cloud(bundle, honest) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            edge.database.execute("PRAGMA query_only = ON")
            for _ in range(10):
                await edge.send("what is it?")
            await edge.until(lambda: len(edge.told(Answered)) == 10)
            assert edge.told(SpoolTroubled)[0].fate is Fate.READ_ONLY
            edge.database.execute("PRAGMA query_only = OFF")
            await edge.until(lambda: edge.told(SpoolMended) != [])
            await edge.send()
            assert await edge.end()
        assert edge.spool.report().counts == {"handed": 11, DELIVERED: 11}

    play(test)


def test_with_neither_disk_nor_cloud_memory_keeps_some_and_counts_the_rest(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with spooled_edge(NOBODY, bundle, path, deadline_s=0.2) as edge:
            edge.database.execute("PRAGMA query_only = ON")
            for _ in range(200):
                await edge.send()
            await edge.until(lambda: edge.spool.report().counts.get("read_only", 0) >= 136)
            assert edge.spool.report().counts == {"handed": 200, "read_only": 136}
            edge.database.execute("PRAGMA query_only = OFF")
            await edge.until(lambda: edge.spool.report().packets == 64)
            assert accounted(edge.spool)  # what memory still had is on disk now
            await edge.end(retire=True)
        async with scripted_cloud(bundle) as cloud:
            async with spooled_edge(cloud.address, bundle, path) as edge:
                assert await edge.end()
            assert sequences(cloud) == list(range(137, 201))

    play(test)


def test_what_only_memory_has_at_the_end_is_counted(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool") as edge:
            edge.database.execute("PRAGMA query_only = ON")
            for _ in range(5):
                await edge.send()
            await edge.end(retire=True)
            assert edge.spool.report().counts == {"handed": 5, "read_only": 5}

    play(test)


def test_a_stop_does_not_wait_for_a_dead_link(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with (
            scripted_cloud(bundle, silent) as cloud,
            spooled_edge(cloud.address, bundle, tmp_path / "spool") as edge,
        ):
            await edge.until(lambda: edge.told(Connected) != [])
            for _ in range(30):
                await edge.send("what is it?")
            began = time.monotonic()
            assert not await edge.end(1.0, retire=True)
            assert time.monotonic() - began < 6
            assert edge.spool.report().packets == 30
            assert accounted(edge.spool)

    play(test)


def test_a_recording_waits_for_the_cloud_also_with_a_spool(bundle: Bundle, tmp_path: Path) -> None:
    async def test() -> None:
        async with spooled_edge(NOBODY, bundle, tmp_path / "spool", live=False) as edge:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(edge.send(), 0.3)
            assert edge.spool.report().handed == 0
            await edge.end(retire=True)

    play(test)
