"""Sent means sent: what a watch tells of each frame, and what its summary says at the end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.types import Frame, Timing
from saccade.v1 import tokens_pb2
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.event_lines import to_line, to_record
from saccade_edge.frame_tracker import MOST_SENT, FrameTracker
from saccade_edge.gate import GateSettings, Verdict
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import FrameResult
from saccade_edge.plan import PipelineSettings
from saccade_edge.spool import SpoolSettings
from saccade_edge.uplink import ConnectionLost, Outstanding, PacketDeferred, PacketSent
from saccade_edge.watch_events import (
    Event,
    FrameAnswered,
    FrameSent,
    FrameSpooled,
    LateFrameSent,
    Summary,
)
from saccade_testing.scripted_cloud import Line, honest, scripted_cloud

T = TypeVar("T")
MakeVideo = Callable[..., Path]
EVERY_FRAME = PipelineSettings(
    encode=EncodeOptions(codec="f16"),
    gate=GateSettings(threshold=0),
    runtime=RuntimeSettings(threads=1),
)


def kinds(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def camera(video: Path, cloud: str, spool: Path | None, **changes: Any) -> WatchSettings:
    """The video plays the part of a camera."""
    kept = None if spool is None else SpoolSettings(spool, reserve_bytes=0)
    usual = WatchSettings(str(video), cloud, live=True, pipeline=EVERY_FRAME, spool=kept)
    return replace(usual, **changes)


async def watched(bundle: Bundle, settings: WatchSettings, events: list[Event]) -> Summary:
    return await asyncio.wait_for(Watch(bundle, settings, events.append).run(), 60)


async def silent(line: Line) -> None:
    """Welcomes, and never says another word."""
    await line.greet()
    while await line.hear() is not None:
        pass


def test_without_a_cloud_frames_are_spooled_and_go_late_in_the_next_run(
    bundle: Bundle, make_video: MakeVideo, tmp_path: Path
) -> None:
    spool, video = tmp_path / "spool", make_video(frames=5)

    async def test() -> None:
        away: list[Event] = []
        chosen = camera(video, "127.0.0.1:9", spool, questions=("what is it?",), drain_s=0.5)
        first = await watched(bundle, chosen, away)
        assert kinds(away, FrameSent) == []
        assert kinds(away, LateFrameSent) == []
        spooled = kinds(away, FrameSpooled)
        assert [e.result.frame.sequence for e in spooled] == sorted(
            {e.result.frame.sequence for e in spooled}
        )
        assert first.frames == first.spooled == len(spooled) > 0
        assert (first.sent, first.packet_bytes, first.unsent, first.complete) == (0, 0, 0, False)
        assert "there is no connection to the cloud" in spooled[0].reason
        record = to_record(spooled[0])
        assert record is not None
        assert (record["event"], record["live"]) == ("FrameSpooled", False)
        assert record["size"] == [96, 160]
        line = to_line(first)
        assert line is not None
        assert f"0 sent, 0 answers, 0 refused, 0 bytes (0 a frame), {first.frames} spooled" in line
        assert f"spool: {first.frames} waiting for the next run" in line

        there: list[Event] = []
        async with scripted_cloud(bundle, honest) as cloud:
            again = camera(video, cloud.address, spool, live=False)
            second = await watched(bundle, again, there)
        late = kinds(there, LateFrameSent)
        assert {e.sequence for e in late} >= {e.result.frame.sequence for e in spooled}
        assert {e.size for e in late} == {(96, 160)}
        assert second.sent == len(late) + len(kinds(there, FrameSent))
        assert second.late == len(late) == first.frames
        assert second.late_answers == second.answers == first.frames
        assert all(e.late for e in kinds(there, FrameAnswered))
        assert second.complete
        told = [r for e in there if (r := to_record(e)) and r["event"] == "FrameSent"]
        assert len(told) == len({r["sequence"] for r in told}) == second.sent
        line = to_line(second)
        assert line is not None
        assert f"{second.sent} sent ({second.late} late), " in line
        assert "spool: 0 waiting" in line

    asyncio.run(test())


def test_a_packet_that_is_said_again_was_sent_once(bundle: Bundle, make_video: MakeVideo) -> None:
    async def hangs_up(line: Line) -> None:
        await line.greet()
        await line.hear()  # the first packet, and not a word of it

    async def test() -> None:
        events: list[Event] = []
        async with scripted_cloud(bundle, hangs_up, honest) as cloud:
            chosen = WatchSettings(str(make_video(frames=3)), cloud.address, pipeline=EVERY_FRAME)
            summary = await watched(bundle, chosen, events)
        assert len(kinds(events, ConnectionLost)) == 1
        said = [packet.sequence for line in cloud.lines for packet in line.said("packet")]
        assert said.count(1) == 2
        assert [e.result.frame.sequence for e in kinds(events, FrameSent)] == [1, 2, 3]
        assert summary.sent == 3
        sizes = {p.sequence: p.ByteSize() for line in cloud.lines for p in line.said("packet")}
        assert summary.packet_bytes == sum(sizes.values())

    asyncio.run(test())


@pytest.mark.parametrize("spooled", [False, True])
def test_what_the_cloud_owes_at_the_end_is_said_once(
    bundle: Bundle, make_video: MakeVideo, tmp_path: Path, spooled: bool
) -> None:
    """In numbers where it is lost, as waiting where the next run sends it."""

    async def test() -> None:
        events: list[Event] = []
        spool = tmp_path / "spool" if spooled else None
        async with scripted_cloud(bundle, silent) as cloud:
            asked = ("what is it?", "how many?")
            chosen = camera(make_video(frames=60), cloud.address, spool, questions=asked)
            watch = Watch(bundle, chosen, events.append)
            loop = asyncio.get_running_loop()
            loop.call_later(1.5, watch.stop)
            loop.call_later(1.8, watch.stop)
            summary = await asyncio.wait_for(watch.run(), 60)
        line = to_line(summary)
        assert line is not None
        assert not summary.complete
        sent = len(kinds(events, FrameSent))
        assert summary.sent == sent > 0
        if spooled:
            assert summary.spool is not None
            assert summary.spool.packets == summary.sent + summary.spooled
            assert f"; spool: {summary.spool.packets} waiting for the next run" in line
            assert "not acknowledged" not in line
        else:
            assert (summary.unacknowledged, summary.unanswered) == (sent, 2 * sent)
            packets, questions = f"; {sent} packets not acknowledged", f"; {2 * sent} questions"
            assert line.endswith(f"{packets}{questions} not answered")

    asyncio.run(test())


def look(sequence: int, picture: np.ndarray[Any, np.dtype[np.uint8]] | None = None) -> FrameResult:
    shown = np.full((16, 24, 3), 7, np.uint8) if picture is None else picture
    frame = Frame(shown, sequence * 10**9, "gate", sequence, f"{sequence}.png")
    packet = tokens_pb2.FramePacket(sequence=sequence)
    return FrameResult(frame, Verdict("key", "changed", 9.0), Timing({}), packet=packet)


def test_a_frame_that_waits_for_the_link_keeps_its_regions_and_not_its_picture() -> None:
    events: list[Event] = []
    tracker = FrameTracker(events.append, 0)
    tracker.sending(look(1), 100, 0.0, None)
    tracker.on_event(PacketDeferred(1, on_disk=True, late=False))
    tracker.on_event(PacketSent(1, 100, live=True))
    (spooled,), (sent,) = kinds(events, FrameSpooled), kinds(events, FrameSent)
    assert int(spooled.result.frame.picture.max()) == 7
    assert (sent.result.frame.size, int(sent.result.frame.picture.max())) == ((16, 24), 0)
    assert sent.result.frame.picture.strides == (0, 0, 0)  # it takes no memory
    assert (tracker.summary(complete=True, spool=None).spooled, sent.result.packet) == (1, None)


@pytest.mark.parametrize(
    ("on_disk", "reason"),
    [(True, "not sent within the deadline"), (False, "the spool takes nothing now")],
)
def test_a_frame_that_fell_behind_says_why_once(on_disk: bool, reason: str) -> None:
    events: list[Event] = []
    tracker = FrameTracker(events.append, 0)
    tracker.sending(look(1), 100, 0.0, None)
    for _ in range(2):
        tracker.on_event(PacketDeferred(1, on_disk=on_disk, late=True))
    tracker.on_event(PacketSent(1, 100, live=False, size=(16, 24), captured_ns=10**9))
    (spooled,), (late,) = kinds(events, FrameSpooled), kinds(events, LateFrameSent)
    assert reason in spooled.reason
    assert late == LateFrameSent(1, 10**9, (16, 24), 100, "1.png")
    assert kinds(events, FrameSent) == []


@pytest.mark.parametrize("spooled", [True, False])
def test_frames_that_never_went_are_counted_at_the_end(spooled: bool) -> None:
    events: list[Event] = []
    tracker = FrameTracker(events.append, 0)
    for sequence in (1, 2):
        tracker.sending(look(sequence), 100, 0.0, None)
    tracker.on_event(PacketSent(1, 100, live=True))
    tracker.ended(spooled=spooled)
    tracker.ended(spooled=spooled)
    summary = tracker.summary(complete=False, spool=None, outstanding=Outstanding(1, 0))
    assert (summary.frames, summary.sent, summary.unacknowledged) == (2, 1, 1)
    assert (summary.spooled, summary.unsent) == ((1, 0) if spooled else (0, 1))
    assert [e.result.frame.sequence for e in kinds(events, FrameSpooled)] == [2] * spooled
    line = to_line(summary)
    assert line is not None
    assert re.search(r", 1 spooled" if spooled else r", 1 unsent", line)


def test_what_is_known_of_sent_packets_is_bounded() -> None:
    tracker = FrameTracker(lambda event: None, 0)
    for sequence in range(MOST_SENT + 10):
        tracker.on_event(PacketSent(sequence, 1, live=True))
    assert len(tracker._sent_live) == MOST_SENT
    tracker.on_event(PacketSent(MOST_SENT + 9, 1, live=True))
    assert tracker.summary(complete=True, spool=None).sent == MOST_SENT + 10
