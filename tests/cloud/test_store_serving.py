"""A served cloud with a store, over real gRPC."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.v1 import fleet_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_cloud.handshake import MAX_IN_DOUBT
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.store.sql_store import SqlStore
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    Served,
    damaged_packet,
    hello,
    packet,
    question,
    serving,
)
from saccade_testing.commands import cloud_process, run
from saccade_testing.questions import ask_request
from saccade_testing.store_contract import locked
from saccade_testing.tiny_bundle import write_bundle
from saccade_testing.tokens import EPOCH_UNIX_MS

Serve = Callable[[Callable[[Served], Awaitable[None]]], None]
CAPTURED_MS = EPOCH_UNIX_MS + 61_234  # of every packet here


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def serve(bundle: Bundle, path: Path) -> Serve:
    """A cloud on one store, started anew with each call."""
    return lambda work: served_with(bundle, path, work)


def served_with(
    bundle: Bundle,
    path: Path,
    work: Callable[[Served], Awaitable[None]],
    settings: ServerSettings = QUICK,
) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings, store=str(path)) as served:
            await work(served)

    asyncio.run(main())


async def settle(edge: EdgeEnd, *packets: object) -> list[pb.CloudMessage]:
    """What the cloud says to packets sent one after the other, by sequence."""
    for each in packets:
        await edge.say(packet=each)
    replies = [await edge.hear() for _ in packets]
    return sorted(replies, key=lambda m: m.ack.sequence or m.failure.sequence)


def test_an_acknowledged_packet_is_stored_and_the_next_welcome_says_so(
    serve: Serve, bundle: Bundle
) -> None:
    async def first(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        assert (await edge.greet(in_doubt=[1])).welcome == welcome_of(served, 0, [])
        acks = await settle(edge, packet(1), packet(2), packet(9, 1))
        assert [(each.ack.sequence, each.ack.stored) for each in acks] == [
            *((1, True), (2, True), (9, True))
        ]

    async def second(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        said = (await edge.greet(in_doubt=[2, 3, 9])).welcome
        assert said == welcome_of(served, 9, [2, 9])
        assert (await settle(edge, packet(2)))[0].ack.stored
        other = (await EdgeEnd(served, bundle).greet(boot=2, in_doubt=[2])).welcome
        assert (other.resume_after, list(other.stored)) == (0, [])

    serve(first)
    serve(second)


def welcome_of(served: Served, resume_after: int, stored: list[int]) -> pb.Welcome:
    return pb.Welcome(
        protocol=1,
        token_digest=served.bundle.token_digest,
        codecs=served.bundle.limits.codecs,
        limits=served.bundle.limits.to_wire(),
        resume_after=resume_after,
        stored=stored,
    )


def test_more_in_doubt_than_an_edge_can_have_sent_is_refused(serve: Serve, bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        most = range(1, MAX_IN_DOUBT + 1)
        assert (await EdgeEnd(served, bundle).greet(in_doubt=most)).HasField("welcome")
        failure = (await EdgeEnd(served, bundle).greet(in_doubt=[*most, 5000])).failure
        assert (failure.code, failure.fatal) == ("limit", True)

    serve(work)


def test_another_packet_under_the_same_identity_is_refused_by_name(
    serve: Serve, bundle: Bundle
) -> None:
    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        assert (await settle(edge, packet(4)))[0].ack.stored
        failure = (await settle(edge, packet(4, kept=3)))[0].failure
        assert (failure.code, failure.sequence, failure.fatal) == ("packet", 4, False)
        assert "another packet 4" in failure.message
        assert (await settle(edge, packet(4)))[0].ack.stored, "the first one is still there"
        assert isinstance(served.cloud.store, SqlStore)
        assert (await served.cloud.store.totals()).conflicts == 1

    serve(work)


def test_a_damaged_packet_is_not_stored(serve: Serve, bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        assert (await settle(edge, damaged_packet(1)))[0].failure.code == "packet"
        assert (await settle(edge, packet(1)))[0].ack.stored

    serve(work)


def test_a_frame_that_only_the_store_has_can_be_asked_about(serve: Serve, bundle: Bundle) -> None:
    texts: list[str] = []

    async def first(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await settle(edge, packet(3, kept=9))
        await edge.say(question=question(1, sequence=3))
        texts.append((await edge.answer(1))[0])

    async def second(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await edge.say(question=question(1, sequence=3))
        text, last = await edge.answer(1)
        texts.append(text)
        assert [each.stage for each in last.timing][-1] == "store"
        await edge.say(question=question(2, sequence=4))
        assert "no frame 4" in (await edge.hear()).failure.message

    serve(first)
    serve(second)
    assert texts[0] == texts[1] != ""


def test_a_frame_of_another_bundle_is_not_decoded(
    serve: Serve, path: Path, tmp_path: Path, bundle: Bundle
) -> None:
    other = write_bundle(tmp_path / "other", seed=1, calibrated=True)

    async def first(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await settle(edge, packet(3))

    async def second(served: Served) -> None:
        edge = EdgeEnd(served, other)
        assert (await edge.greet()).welcome.resume_after == 3
        await edge.say(question=question(1, sequence=3))
        failure = (await edge.hear()).failure
        assert failure.code == "question"
        assert f"coded with bundle {bundle.token_digest[:6].hex()}" in failure.message

    serve(first)
    served_with(other, path, second)


def test_what_the_disk_does_not_take_is_to_be_said_again_and_answers_go_on(
    bundle: Bundle, path: Path
) -> None:
    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        with locked(path):
            failure = (await settle(edge, packet(1)))[0].failure
            assert (failure.code, failure.sequence, failure.fatal) == ("storage", 1, False)
            assert str(path) not in failure.message
            await edge.say(question=question(1))
            assert (await edge.answer(1))[0]
            again = EdgeEnd(served, bundle)
            assert (await again.greet(in_doubt=[1])).HasField("welcome")
        for _ in range(100):
            reply = (await settle(edge, packet(1)))[0]
            if reply.HasField("ack"):
                assert reply.ack.stored
                return
        raise AssertionError("it did not recover")

    served_with(bundle, path, work, replace(QUICK, store_timeout_s=0.3))


async def past(served: Served, camera: str, **fields: int) -> list[fleet_pb2.WatchReply]:
    request = fleet_pb2.HistoryRequest(camera=camera, **fields)
    return [reply async for reply in served.fleet.History(request, timeout=20)]


def test_history_is_what_watchers_saw_also_after_a_restart(serve: Serve, bundle: Bundle) -> None:
    seen: list[fleet_pb2.WatchReply] = []

    async def first(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        watch = served.fleet.Watch(fleet_pb2.WatchRequest())
        await settle(edge, packet(1), packet(2))
        for number in (1, 2):
            await edge.say(question=question(number, sequence=number))
            await edge.answer(number)
            seen.append(await watch.read())
        ask = ask_request("north")
        assert [reply async for reply in served.fleet.Ask(ask)][-1].last
        seen.append(await watch.read())
        watch.cancel()

    async def second(served: Served) -> None:
        found = await past(served, "kerb/north")
        assert sorted(found, key=str) == sorted(seen, key=str)
        assert await past(served, "kerb/north", limit=1) == found[:1]
        span = {"since_unix_ms": CAPTURED_MS, "until_unix_ms": CAPTURED_MS + 1}
        assert await past(served, "kerb/north", **span) == found
        assert await past(served, "kerb/north", until_unix_ms=CAPTURED_MS) == []
        assert await past(served, "kerb/north", since_unix_ms=(1 << 64) - 1) == []
        assert await past(served, "kerb/south") == []
        with pytest.raises(grpc.aio.AioRpcError, match="there is no camera 'north'"):
            await past(served, "north")

    serve(first)
    serve(second)


def test_without_a_store_there_is_no_history_and_nothing_is_stored(bundle: Bundle) -> None:
    async def main() -> None:
        async with serving(bundle) as served:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            assert not (await settle(edge, packet(1)))[0].ack.stored
            with pytest.raises(grpc.aio.AioRpcError, match="keeps no history"):
                await past(served, "north")

    asyncio.run(main())


def test_a_killed_cloud_has_what_it_acknowledged(bundle: Bundle, path: Path) -> None:
    stored: list[int] = []
    for life in range(3):
        with (
            cloud_process(bundle.folder, "--store", str(path)) as (process, address),
            grpc.insecure_channel(address) as channel,
        ):
            said = [pb.EdgeMessage(hello=hello(bundle, in_doubt=stored))]
            sequences = range(life * 40 + 1, life * 40 + 41)
            said += [pb.EdgeMessage(packet=packet(n, kept=2)) for n in sequences]
            replies = VisionStub(channel).Connect(iter(said), timeout=20)
            assert list(next(replies).welcome.stored) == sorted(stored)
            stored += [next(replies).ack.sequence for _ in range(30)]
            process.send_signal(signal.SIGKILL)
            replies.cancel()
    assert len(set(stored)) == 90
    with (
        cloud_process(bundle.folder, "--store", str(path)) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        said = [pb.EdgeMessage(hello=hello(bundle, in_doubt=stored))]
        replies = VisionStub(channel).Connect(iter(said), timeout=20)
        assert list(next(replies).welcome.stored) == sorted(stored)


def test_the_command_line_says_what_a_store_holds(serve: Serve, bundle: Bundle, path: Path) -> None:
    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        await edge.greet()
        await settle(edge, packet(1), packet(2))
        await edge.say(question=question(1))
        await edge.answer(1)

    serve(work)
    done = run("cloud", "store", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    head, _, line = done.stdout.splitlines()
    size = packet(1).ByteSize() + packet(2).ByteSize()
    assert head.startswith(f"{path}: 2 packets of {size:,} bytes, 1 observations, 0 conflicts; ")
    when = "2023-11-14T22:14:21Z"
    assert line.split() == ["kerb/north", "2", f"{size:,}", "1", when, when]


def test_a_served_store_is_announced_with_its_bounds(bundle: Bundle, path: Path) -> None:
    bounds = ("--keep-days", "0.5", "--keep-bytes", "2M")
    with cloud_process(bundle.folder, "--store", str(path), *bounds) as (process, _):
        assert process.stdout is not None
        with closing(process.stdout) as out:
            assert out.readline() == f"storing in {path} (for 0.5 days, up to 0.002 GB)\n"
