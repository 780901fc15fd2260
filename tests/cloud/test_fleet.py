from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from saccade import codecs
from saccade.bundle import Bundle
from saccade.errors import NotInFrame, StaleFrame
from saccade.packet import pack
from saccade.question_rules import crops_of
from saccade.v1 import fleet_pb2 as pb
from saccade.wire_errors import from_rpc
from saccade_cloud.assemble import open_engine
from saccade_testing.cloud_server import (
    EdgeEnd,
    HeldEngine,
    Served,
    packet,
    question,
    serving,
    until,
)
from saccade_testing.questions import ask_request
from saccade_testing.tiny_bundle import write_bundle
from saccade_testing.tokens import EPOCH_UNIX_MS, usual_frame


def run(bundle: Bundle, work: Callable[[Served], Awaitable[None]]) -> None:
    async def main() -> None:
        async with serving(bundle) as served:
            await work(served)

    asyncio.run(main())


async def connected(served: Served, bundle: Bundle, device: str, *indices: int) -> EdgeEnd:
    """An edge that has sent one packet of each camera in ``indices``."""
    edge = EdgeEnd(served, bundle)
    await edge.greet(device=device)
    for sequence, index in enumerate(indices, 1):
        await edge.say(packet=packet(sequence, index))
        assert (await edge.hear()).HasField("ack")
    return edge


def test_a_damaged_layer_is_left_out_and_counted(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, calibrated=True)

    async def work(served: Served) -> None:
        edge = EdgeEnd(served, bundle)
        assert list((await edge.greet()).welcome.codecs) == ["f16", "int8z", "klt", "rvq"]
        for sequence, codec in enumerate(("klt", "rvq"), 1):
            frame = replace(usual_frame(), sequence=sequence)
            known = codecs.of(bundle)
            damaged = pack(frame, codec, epoch_unix_ms=EPOCH_UNIX_MS, codecs=known)
            damaged.layers[1] = damaged.layers[1][:-1]
            await edge.say(packet=damaged)
            assert (await edge.hear()).HasField("ack")
        [camera, _] = (await served.fleet.ListCameras(pb.ListCamerasRequest())).cameras
        assert (camera.frames, camera.damaged_layers) == (2, 2)
        assert (await ask(served, "kerb/north"))[-1].last

    run(bundle, work)


async def ask(served: Served, camera: str) -> list[pb.AskReply]:
    request = ask_request(camera, "what color is it")
    return [reply async for reply in served.fleet.Ask(request, timeout=20)]


async def refusal(served: Served, camera: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(served, camera)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details() or ""


def test_cameras_are_listed_with_what_came_from_them(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        await connected(served, bundle, "kerb", 0, 0)
        left = await connected(served, bundle, "mast", 1)
        await left.call.done_writing()
        assert await left.call.read() is grpc.aio.EOF
        cameras = (await served.fleet.ListCameras(pb.ListCamerasRequest())).cameras
        assert [(c.device, c.name, c.connected, c.last_sequence, c.frames) for c in cameras] == [
            ("kerb", "north", True, 2, 2),
            ("kerb", "south", True, 0, 0),
            ("mast", "north", False, 0, 0),
            ("mast", "south", False, 1, 1),
        ]
        assert cameras[0].bytes == packet(1).ByteSize() + packet(2).ByteSize()
        assert cameras[0].last_captured_unix_ms == EPOCH_UNIX_MS + 61_234

    run(bundle, work)


def test_a_question_goes_to_the_newest_frame(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb", 0, 0)
        replies = await ask(served, "north")
        assert "".join(reply.text for reply in replies)
        assert {reply.sequence for reply in replies} == {2}
        assert {reply.packet_bytes for reply in replies} == {packet(2).ByteSize()}
        assert replies[-1].last
        assert replies[-1].timing
        edge.call.cancel()
        assert await ask(served, "kerb/north"), "a camera that left can still be asked about"

    run(bundle, work)


async def captured(edge: EdgeEnd, sequence: int, ago_s: float) -> None:
    """Send a frame of the first camera that was captured so long ago by the edge's clock."""
    taken_ns = time.time_ns() - int(ago_s * 1e9)
    frame = replace(usual_frame(), sequence=sequence, captured_ns=taken_ns)
    await edge.say(packet=pack(frame, "f16", epoch_unix_ms=EPOCH_UNIX_MS))
    assert (await edge.hear()).HasField("ack")


async def last(served: Served, **fields: Any) -> pb.AskReply:
    request = ask_request("kerb/north", "what color is it", **fields)
    replies: list[pb.AskReply] = [r async for r in served.fleet.Ask(request, timeout=20)]
    return replies[-1]


def test_an_answer_says_how_old_its_frame_is_and_how_probable_it_is(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb")
        await captured(edge, 1, ago_s=90)
        reply = await last(served)
        assert 90_000 <= reply.age_ms < 110_000
        assert (reply.clock_ahead_ms, reply.connected) == (0, True)
        assert 0 < reply.least_probability <= reply.probability <= 1
        assert reply.domain == bundle.manifest.domain
        listed = await served.fleet.ListCameras(pb.ListCamerasRequest())
        north, south = listed.cameras
        assert 90_000 <= north.last_age_ms < 110_000
        assert not south.HasField("last_age_ms")
        assert listed.domain == bundle.manifest.domain

    run(bundle, work)


def test_a_camera_that_is_gone_is_said_to_be_gone(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb")
        await captured(edge, 1, ago_s=90)
        edge.call.cancel()
        await until(lambda: not served.cloud.frames.connected("kerb", "north"))
        reply = await last(served)
        assert not reply.connected
        assert reply.age_ms >= 90_000

    run(bundle, work)


def test_a_frame_that_is_older_than_allowed_is_refused_with_its_age(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb")
        await captured(edge, 1, ago_s=90)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await last(served, max_age_ms=10_000)
        error = from_rpc(caught.value)
        assert isinstance(error, StaleFrame)
        said = (
            r"the newest frame of kerb/north is 9\d\.\d s old \(captured 20.*Z\), at most 10\.0 s "
        )
        assert re.match(said, error.message)
        assert "not connected" not in error.message
        assert (await last(served, max_age_ms=120_000)).last
        await captured(edge, 2, ago_s=0)
        assert (await last(served, max_age_ms=60_000)).sequence == 2
        with pytest.raises(grpc.aio.AioRpcError, match="stale_frame"):
            await last(served, max_age_ms=0)

    run(bundle, work)


def test_a_clock_that_runs_ahead_makes_no_negative_age_and_no_lasting_preference(
    bundle: Bundle,
) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb")
        await captured(edge, 1, ago_s=-3600)
        reply = await last(served, max_age_ms=60_000)
        assert 0 <= reply.age_ms < 60_000
        assert 3_590_000 < reply.clock_ahead_ms <= 3_600_000
        [north, _] = (await served.fleet.ListCameras(pb.ListCamerasRequest())).cameras
        assert 3_590_000 < north.clock_ahead_ms <= 3_600_000
        await captured(edge, 2, ago_s=0)
        reply = await last(served)
        assert (reply.sequence, reply.clock_ahead_ms) == (2, 0)

    run(bundle, work)


def test_a_question_about_a_crop_that_is_not_there_is_refused_before_the_engine(
    bundle: Bundle,
) -> None:
    async def main() -> None:
        async with serving(bundle, HeldEngine(open_engine(bundle))) as served:
            edge = await connected(served, bundle, "kerb", 0)
            there = len(crops_of(usual_frame().views))
            request = ask_request("kerb/north", f"is vehicle {there + 1} red")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await served.fleet.Ask(request, timeout=20).read()
            error = from_rpc(caught.value)
            assert isinstance(error, NotInFrame)
            assert f"there is no vehicle {there + 1} in this frame: it has vehicle 1" in str(error)
            await edge.say(question=question(4, text="what color is vehicle 9"))
            failure = (await edge.hear()).failure
            assert (failure.code, failure.question_id) == ("not_in_frame", 4)
            assert not failure.fatal
            await edge.say(packet=packet(2))
            assert (await edge.hear()).HasField("ack"), "the stream goes on"

    asyncio.run(main())


def test_who_asks_wrongly_is_told_what_there_is(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        assert "known: none" in await refusal(served, "north")
        await connected(served, bundle, "kerb", 0)
        await connected(served, bundle, "mast", 0)
        assert "known: kerb/north, kerb/south, mast/north" in await refusal(served, "west")
        assert "several cameras: kerb/north, mast/north" in await refusal(served, "north")
        assert "kerb/south has not sent a frame yet" in await refusal(served, "kerb/south")

    run(bundle, work)


def test_watchers_see_every_answer_of_their_camera(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        edge = await connected(served, bundle, "kerb", 0, 1)
        everything = served.fleet.Watch(pb.WatchRequest())
        south = served.fleet.Watch(pb.WatchRequest(camera="south"))
        await until(lambda: served.cloud.broadcast.subscribers == 2)
        await edge.say(question=question(1, sequence=1))
        expected, _ = await edge.answer(1)
        await ask(served, "south")
        first, second = await everything.read(), await everything.read()
        assert (first.camera, first.sequence, first.answer) == ("north", 1, expected)
        assert (first.question, first.packet_bytes) == ("what color is it", packet().ByteSize())
        assert second.camera == "south"
        assert (await south.read()) == second
        for reply in (first, second):
            assert 0 < reply.least_probability <= reply.probability <= 1
            assert abs(reply.answered_unix_ms - time.time_ns() // 10**6) < 60_000
        south.cancel()
        await until(lambda: served.cloud.broadcast.subscribers == 1)

    run(bundle, work)


def test_watching_a_camera_that_is_not_there_is_refused(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        with pytest.raises(grpc.aio.AioRpcError, match="no camera 'west'"):
            await served.fleet.Watch(pb.WatchRequest(camera="west")).read()

    run(bundle, work)


def test_watchers_are_told_when_the_server_stops(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        watch = served.fleet.Watch(pb.WatchRequest())
        await until(lambda: served.cloud.broadcast.subscribers == 1)
        await served.server.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    run(bundle, work)
