from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.errors import ConfigError, SourceError, Unreachable
from saccade.limits import Limits
from saccade.manifest import Manifest, OperatingPoint, TokensByKind
from saccade.packet import unpack
from saccade.types import Frame
from saccade_edge.budget import BudgetSettings, Controller, Policy
from saccade_edge.budget.fixed import Fixed
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.event_lines import to_line, to_record
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source.base import RecordedSource
from saccade_edge.watch_events import Event, FrameAnswered, FrameSent, FrameSkipped, Summary
from saccade_edge.watch_parts import WatchParts
from saccade_testing.scripted_cloud import Line, scripted_cloud

T = TypeVar("T")
MakeVideo = Callable[..., Path]
EVERY_FRAME = PipelineSettings(
    encode=EncodeOptions(codec="f16"),
    gate=GateSettings(threshold=0),
    runtime=RuntimeSettings(threads=1),
)
OURS = ("saccade-frames", "camera-")


def play(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs the test and sees that it leaves no thread behind."""
    asyncio.run(asyncio.wait_for(test(), 60))
    assert [t.name for t in threading.enumerate() if t.name.startswith(OURS)] == []


def settings(source: Path | str, cloud: str, **changes: Any) -> WatchSettings:
    usual = WatchSettings(str(source), cloud, camera="north", device="kerb", pipeline=EVERY_FRAME)
    return replace(usual, **changes)


def kinds(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def test_every_frame_of_a_video_is_sent_and_every_question_answered(
    bundle: Bundle, make_video: MakeVideo
) -> None:
    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle) as cloud:
            asked = ("what is it?", "how many are there?")
            chosen = settings(make_video(frames=6), cloud.address, questions=asked)
            summary = await Watch(bundle, chosen, events.append).run()
        (line,) = cloud.lines
        packets = line.said("packet")
        total = sum(p.ByteSize() for p in packets)
        assert summary == Summary(
            frames=6, sent=6, answers=12, refused=0, packet_bytes=total, complete=True
        )
        assert events[-1] == summary
        assert [p.sequence for p in packets] == [1, 2, 3, 4, 5, 6]
        assert [e.packet_bytes for e in kinds(events, FrameSent)] == [p.ByteSize() for p in packets]
        hello = line.said("hello")[0]
        there = unpack(
            packets[2],
            limits=Limits.of(bundle.manifest),
            cameras=hello.cameras,
            epoch_unix_ms=hello.epoch_unix_ms,
        )
        (sent,) = (e.result for e in kinds(events, FrameSent) if e.result.frame.sequence == 3)
        assert (there.camera, there.size) == ("north", (96, 160))
        assert abs(there.captured_ns - sent.frame.captured_ns) < 1_000_000
        for answered in kinds(events, FrameAnswered):
            stages = list(answered.answer.timing.stages)
            assert stages[:6] == ["gate", "detect", "views", "encode", "select", "code"]
            assert stages[6:] == ["link", "prefill"]
            assert (answered.answer.text, answered.answer.finish) == ("blue car", "stop")

    play(test)


def test_frames_without_news_are_not_sent(bundle: Bundle, make_video: MakeVideo) -> None:
    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle) as cloud:
            gated = replace(EVERY_FRAME, gate=GateSettings(threshold=200))
            chosen = settings(make_video(frames=6), cloud.address, pipeline=gated)
            summary = await Watch(bundle, chosen, events.append).run()
        assert (summary.frames, summary.sent) == (6, 1)
        assert len(kinds(events, FrameSkipped)) == 5

    play(test)


def test_a_stop_takes_no_further_frame_and_settles_what_was_sent(
    bundle: Bundle, make_video: MakeVideo
) -> None:
    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle) as cloud:
            chosen = settings(make_video(frames=100, fps=20), cloud.address, live=True)
            watch = Watch(bundle, chosen, events.append)
            asyncio.get_running_loop().call_later(1.0, watch.stop)
            summary = await watch.run()
        assert summary.complete
        assert 0 < summary.sent < 100
        assert len(cloud.lines[0].said("bye")) == 1

    play(test)


def test_a_second_stop_does_not_wait_for_answers(bundle: Bundle, make_video: MakeVideo) -> None:
    async def silent(line: Line) -> None:
        await line.greet()
        while await line.hear() is not None:
            pass

    async def test() -> None:
        async with scripted_cloud(bundle, silent) as cloud:
            chosen = settings(make_video(frames=3), cloud.address, questions=("what is it?",))
            watch = Watch(bundle, chosen, lambda event: None)
            loop = asyncio.get_running_loop()
            began = loop.time()
            loop.call_later(0.5, watch.stop)
            loop.call_later(0.6, watch.stop)
            summary = await watch.run()
            assert not summary.complete
            assert loop.time() - began < 3

    play(test)


def test_a_source_that_breaks_off_says_so_once_the_rest_is_settled(
    bundle: Bundle, make_frame: Callable[..., Frame]
) -> None:
    def frames() -> Generator[Frame, None, None]:
        yield make_frame(0)
        raise SourceError("the recording broke off")

    async def test() -> None:
        events: list[Event] = []
        parts = WatchParts(source=lambda: RecordedSource(frames()))
        async with scripted_cloud(bundle) as cloud:
            watch = Watch(bundle, settings("", cloud.address), events.append, parts)
            with pytest.raises(SourceError, match="the recording broke off"):
                await watch.run()
        assert len(cloud.lines[0].said("packet")) == 1
        assert len(cloud.lines[0].said("bye")) == 1
        (summary,) = kinds(events, Summary)
        assert (summary.sent, summary.complete) == (1, True)

    play(test)


def test_what_is_wrong_from_the_start_is_said_before_anybody_is_called(
    bundle: Bundle, make_video: MakeVideo
) -> None:
    async def test() -> None:
        async with scripted_cloud(bundle) as cloud:
            video = make_video()
            for chosen, error in (
                (settings("gone.mp4", cloud.address), SourceError),
                (settings(video, "cloud"), ConfigError),
                (settings(video, "10.0.0.1:7860"), ConfigError),
                (
                    settings(
                        video,
                        cloud.address,
                        pipeline=replace(EVERY_FRAME, encode=EncodeOptions(codec="zip")),
                    ),
                    ConfigError,
                ),
            ):
                with pytest.raises(error):
                    await Watch(bundle, chosen, lambda event: None).run()
            assert cloud.lines == []

    play(test)


def test_a_cloud_that_is_not_there_ends_a_files_watch(
    bundle: Bundle, make_video: MakeVideo
) -> None:
    async def test() -> None:
        chosen = settings(make_video(), "127.0.0.1:9", patience_s=0.3)
        with pytest.raises(Unreachable, match="not reachable"):
            await Watch(bundle, chosen, lambda event: None).run()

    play(test)


def test_every_event_is_a_line_or_a_record(bundle: Bundle, make_video: MakeVideo) -> None:
    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle) as cloud:
            chosen = settings(make_video(frames=2), cloud.address, questions=("what is it?",))
            await Watch(bundle, chosen, events.append).run()
        lines = [line for event in events if (line := to_line(event))]
        assert lines[0] == f"connected to {cloud.address}"
        assert any("what is it? -> blue car" in line for line in lines)
        assert lines[-1].startswith("2 frames, 2 sent, 2 answers, 0 refused")
        records = [json.loads(json.dumps(r)) for e in events if (r := to_record(e))]
        by_kind = {record["event"]: record for record in records}
        assert by_kind["FrameSent"]["regions"][0]["label"] == "car"
        assert by_kind["FrameAnswered"]["answer"] == "blue car"
        assert by_kind["Summary"]["complete"] is True

    play(test)


def with_points(bundle: Bundle, *tokens: int) -> Bundle:
    """The bundle with an operating point for each; its own is the last."""
    points = [
        OperatingPoint(3, TokensByKind.alike(kept), "f16", 1, 40.0 * kept, kept / 40)
        for kept in tokens
    ]
    selection = replace(bundle.manifest.selection, point=len(points) - 1)
    manifest = replace(bundle.manifest, points=tuple(points), selection=selection)
    return Bundle(bundle.folder, manifest)


def test_a_program_brings_parts_of_its_own(
    bundle: Bundle, make_frame: Callable[..., Frame]
) -> None:
    closed: list[bool] = []
    looked_at: list[int] = []
    asked: list[Policy | None] = []

    class Mirrored(Pipeline):
        def process(self, frame: Frame, **how: Any) -> FrameResult:
            looked_at.append(frame.sequence)
            return super().process(replace(frame, picture=frame.picture[:, ::-1].copy()), **how)

    def smallest(manifest: Manifest, settings: BudgetSettings, policy: Policy | None) -> Controller:
        asked.append(policy)
        return Controller(manifest, settings, Fixed(0))

    parts = WatchParts(
        source=lambda: RecordedSource(
            (make_frame(step) for step in range(3)), lambda: closed.append(True)
        ),
        pipeline=Mirrored,
        controller=smallest,
    )

    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle) as cloud:
            free = replace(EVERY_FRAME, encode=EncodeOptions())
            chosen = settings("frames of our own", cloud.address, pipeline=free)
            summary = await Watch(with_points(bundle, 4, 16), chosen, events.append, parts).run()
        assert (summary.sent, summary.complete) == (3, True)
        assert looked_at == [1, 2, 3]
        assert (closed, asked) == ([True], [None])
        assert [e.decision and e.decision.number for e in kinds(events, FrameSent)] == [0, 0, 0]

    play(test)


def test_a_controller_of_ones_own_wants_something_to_choose(
    bundle: Bundle, make_video: MakeVideo
) -> None:
    """As a budget does: `EVERY_FRAME` names its codec."""

    def never(*_: object) -> Controller:
        raise AssertionError

    async def test() -> None:
        async with scripted_cloud(bundle) as cloud:
            chosen = settings(make_video(), cloud.address)
            watch = Watch(bundle, chosen, lambda event: None, WatchParts(controller=never))
            with pytest.raises(ConfigError, match="with codec given, every frame is coded alike"):
                await watch.run()
            assert cloud.lines == []

    play(test)
