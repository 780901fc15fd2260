"""One bad frame is one bad frame; ten in a row are a fault of the whole."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.errors import BundleError, FramesFailed, LimitExceeded, SaccadeError, SourceError
from saccade.types import Frame
from saccade.v1 import vision_pb2 as pb
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.event_lines import to_line, to_record
from saccade_edge.frame_failures import MOST_IN_A_ROW
from saccade_edge.gate import Gate, GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import FrameError, open_source
from saccade_edge.source.base import RecordedSource
from saccade_edge.source.picture_files import printable
from saccade_edge.uplink import Refused
from saccade_edge.watch_events import (
    Event,
    FrameAnswered,
    FrameFailed,
    FrameSent,
    FrameSkipped,
    Summary,
)
from saccade_edge.watch_parts import WatchParts
from saccade_testing.edge_bundle import write_edge_bundle
from saccade_testing.scripted_cloud import Line, Script, honest, scripted_cloud

T = TypeVar("T")
ONE_THREAD = RuntimeSettings(threads=1)
EVERY_FRAME = PipelineSettings(
    encode=EncodeOptions(codec="f16"), gate=GateSettings(threshold=0), runtime=ONE_THREAD
)
WHITE, BLACK, GREY = 255, 0, 120


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """White pictures give features that are no numbers, black ones make the model fail."""
    return write_edge_bundle(tmp_path_factory.mktemp("faulty"), detector=False, faults=True)


def flat(level: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full((96, 160, 3), level, np.uint8)


def frames(*levels: int) -> Generator[Frame | FrameError, None, None]:
    """One-coloured frames; a level of -1 is one that the source cannot give."""
    for number, level in enumerate(levels, start=1):
        if level < 0:
            yield FrameError(f"frame {number} is torn", number)
        else:
            yield Frame(flat(level), number * 10**9, "gate", number)


def watch(
    bundle: Bundle,
    events: list[Event],
    *levels: int,
    script: Script = honest,
    parts: WatchParts | None = None,
    **changes: Any,
) -> Summary:
    parts = replace(parts or WatchParts(), source=lambda: RecordedSource(frames(*levels)))
    return watch_source(bundle, events, "", script=script, parts=parts, **changes)


def watch_source(
    bundle: Bundle,
    events: list[Event],
    source: str,
    *,
    script: Script = honest,
    parts: WatchParts | None = None,
    **changes: Any,
) -> Summary:
    async def run() -> Summary:
        async with scripted_cloud(bundle, script) as cloud:
            usual = WatchSettings(source, cloud.address, camera="gate", pipeline=EVERY_FRAME)
            chosen = replace(usual, **changes)
            return await Watch(bundle, chosen, events.append, parts or WatchParts()).run()

    return _run(run)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(asyncio.wait_for(work(), 60))


def kinds(events: list[Event], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def sent(events: list[Event]) -> list[int]:
    return [event.result.frame.sequence for event in kinds(events, FrameSent)]


def test_a_frame_that_cannot_be_had_or_looked_at_costs_only_itself(faulty: Bundle) -> None:
    events: list[Event] = []
    summary = watch(faulty, events, GREY, WHITE, GREY + 9, -1, BLACK, GREY)
    assert sent(events) == [1, 3, 6]
    failed = {e.sequence: e for e in kinds(events, FrameFailed)}
    assert {number: e.stage for number, e in failed.items()} == {
        2: "encode", 4: "source", 5: "encode"
    }  # fmt: skip
    assert "features that are no finite numbers" in failed[2].error.message
    assert failed[4].error.message == "frame 4 is torn"
    assert isinstance(failed[5].error, BundleError)
    assert "encoder.onnx failed" in failed[5].error.message
    assert (summary.frames, summary.sent, summary.failed, summary.complete) == (6, 3, 3, True)


def test_a_failure_is_a_line_and_a_record_and_the_summary_counts_it(faulty: Bundle) -> None:
    events: list[Event] = []
    watch(faulty, events, GREY, BLACK)
    (failed,) = kinds(events, FrameFailed)
    record = to_record(failed)
    assert record is not None
    assert record.pop("error").startswith("encoder.onnx failed")
    assert record == {
        "event": "FrameFailed", "sequence": 2, "name": "", "stage": "encode", "code": "bundle"
    }  # fmt: skip
    line = to_line(failed)
    assert line is not None
    assert line.startswith("frame     2  failed in encode: encoder.onnx failed")
    last = to_line(events[-1])
    assert last is not None
    assert last.startswith("2 frames, 1 sent, ")
    assert ", 1 failed" in last


def test_ten_in_a_row_end_the_watch_with_the_last_ones_reason(faulty: Bundle) -> None:
    events: list[Event] = []
    with pytest.raises(FramesFailed, match="10 frames in a row failed, the last: encoder.onnx"):
        watch(faulty, events, GREY, *[-1] * 9, BLACK, GREY)
    assert sent(events) == [1]
    assert len(kinds(events, FrameFailed)) == MOST_IN_A_ROW
    (summary,) = kinds(events, Summary)
    assert (summary.failed, summary.sent, summary.complete) == (10, 1, True)


def test_nine_in_a_row_do_not_and_a_good_frame_begins_the_count_anew(faulty: Bundle) -> None:
    events: list[Event] = []
    summary = watch(faulty, events, *[-1] * 9, GREY, *[BLACK] * 9, GREY + 9, *[-1] * 9)
    assert sent(events) == [10, 20]
    assert summary.failed == 27


def test_frames_that_show_nothing_new_are_good_frames(faulty: Bundle) -> None:
    events: list[Event] = []
    gated = replace(EVERY_FRAME, gate=GateSettings(threshold=4, max_silence_s=1e6))
    watch(faulty, events, *[-1] * 9, GREY, *[-1] * 9, GREY, *[-1] * 9, GREY, pipeline=gated)
    assert (len(sent(events)), len(kinds(events, FrameSkipped))) == (1, 2)


def test_what_a_failed_frame_showed_is_still_new_to_the_gate(faulty: Bundle) -> None:
    gated = replace(EVERY_FRAME, gate=GateSettings(threshold=4, max_silence_s=1e6))
    pipeline = Pipeline(faulty, gated)
    first, black, dark = (Frame(flat(v), 0, "gate", n) for n, v in enumerate((GREY, BLACK, 2)))
    assert pipeline.process(first).packet is not None
    with pytest.raises(BundleError):
        pipeline.process(black)
    assert pipeline.stage == "encode"
    assert pipeline.process(dark).verdict.kind == "key"  # hardly different from the black one


def test_a_gate_takes_back_only_the_last_verdict() -> None:
    gate = Gate(GateSettings(threshold=4, max_silence_s=1e6))
    grey, white = Frame(flat(GREY), 0, "gate", 1), Frame(flat(WHITE), 1, "gate", 2)
    gate.judge(grey)
    assert gate.judge(white).kind == "key"
    gate.take_back()
    assert gate.judge(grey).kind == "skip"
    gate.take_back()
    assert gate.judge(white).kind == "key"


def test_a_packet_over_the_limit_is_one_failed_frame(bundle: Bundle) -> None:
    async def small(line: Line) -> None:
        await line.greet(limits=pb.Limits(message_bytes=1500))
        while (message := await line.hear()) is not None:
            if message.WhichOneof("kind") == "packet":
                await line.ack(message.packet)

    class Swelling(Pipeline):
        """Frame 2's packet is too large."""

        def process(self, frame: Frame, **how: Any) -> FrameResult:
            result = super().process(frame, **how)
            if frame.sequence == 2 and result.packet is not None:
                result.packet.owners = bytes(4000)
            return result

    events: list[Event] = []
    lean = replace(EVERY_FRAME, encode=replace(EVERY_FRAME.encode, tokens_per_view=4))
    parts = WatchParts(pipeline=Swelling)
    summary = watch(bundle, events, 10, 20, 30, script=small, parts=parts, pipeline=lean)
    (failed,) = kinds(events, FrameFailed)
    assert (failed.sequence, failed.stage) == (2, "send")
    assert isinstance(failed.error, LimitExceeded)
    assert sent(events) == [1, 3]
    assert (summary.frames, summary.sent, summary.failed) == (3, 2, 1)


def test_a_defect_of_a_part_is_told_logged_and_costs_one_frame(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    class Brittle(Pipeline):
        def process(self, frame: Frame, **how: Any) -> FrameResult:
            if frame.sequence == 2:
                raise ZeroDivisionError("of a part")
            return super().process(frame, **how)

    events: list[Event] = []
    watch(bundle, events, 10, 20, 30, parts=WatchParts(pipeline=Brittle))
    (failed,) = kinds(events, FrameFailed)
    assert failed.error.message == "ZeroDivisionError: of a part"
    assert sent(events) == [1, 3]
    assert [record.exc_info is not None for record in caplog.records] == [True]


def test_a_packet_that_the_cloud_refuses_is_counted_and_ends_nothing(bundle: Bundle) -> None:
    async def choosy(line: Line) -> None:
        await line.greet()
        while (message := await line.hear()) is not None:
            if message.WhichOneof("kind") != "packet":
                continue
            if message.packet.sequence == 2:
                failure = pb.Failure(code="packet", message="no", sequence=2)
                await line.say(failure=failure)
            else:
                await line.ack(message.packet)

    events: list[Event] = []
    summary = watch(bundle, events, 10, 20, 30, script=choosy)
    (refused,) = kinds(events, Refused)
    assert refused.sequence == 2
    assert sent(events) == [1, 2, 3]
    assert (summary.sent, summary.refused, summary.failed, summary.complete) == (3, 1, 0, True)


def write(path: Path, level: int) -> None:
    cv2.imwrite(str(path), flat(level))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Good pictures, bad ones, and what is none."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.png", GREY)  # all alike: a gate would skip two of them
    (folder / "a.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "b.jpg").write_bytes(b"")
    (folder / "c.jpg").write_bytes(b"this is text")
    (folder / "d.png").mkdir()
    (folder / "e.png").symlink_to(folder / "gone.png")
    os.mkfifo(folder / "f.png")
    huge = bytearray((folder / "0.png").read_bytes())
    huge[16:24] = (60_000).to_bytes(4, "big") * 2
    (folder / "g.png").write_bytes(huge)
    (folder / "._0.png").write_bytes(b"\x00\x05\x16\x07notes of macOS")
    (folder / ".hidden.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "Thumbs.db").write_bytes(b"notes of Windows")
    return folder


def test_every_picture_of_a_folder_is_looked_at_and_named_and_bad_ones_are_told(
    bundle: Bundle, album: Path
) -> None:
    events: list[Event] = []
    gated = replace(EVERY_FRAME, gate=GateSettings(threshold=50))
    asked = ("what is it?",)
    summary = watch_source(bundle, events, str(album), pipeline=gated, questions=asked)
    assert [e.result.frame.name for e in kinds(events, FrameSent)] == ["0.png", "1.png", "2.png"]
    assert [e.name for e in kinds(events, FrameAnswered)] == ["0.png", "1.png", "2.png"]
    failed = {e.name: e.error.message for e in kinds(events, FrameFailed)}
    assert sorted(failed) == ["a.png", "b.jpg", "c.jpg", "d.png", "e.png", "f.png", "g.png"]
    assert "damaged" in failed["a.png"]
    assert "neither PNG, JPEG nor WebP" in failed["b.jpg"]
    assert "is a folder, not a picture" in failed["d.png"]
    assert "cannot read" in failed["e.png"]
    assert "no regular file" in failed["f.png"]
    assert "60000 x 60000 pixels" in failed["g.png"]
    assert (summary.frames, summary.sent, summary.failed) == (10, 3, 7)
    for event in events:
        record = to_record(event)
        if record is not None and "sequence" in record:
            assert record["name"], record
            assert record["name"] in (to_line(event) or record["name"])


def test_a_picture_that_nobody_may_read_is_a_failed_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket: also root cannot read it."""
    write(tmp_path / "a.png", GREY)
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("b.png")
        with open_source(str(tmp_path), "gate") as source:
            assert next(source).name == "a.png"
            with pytest.raises(FrameError, match=r"b\.png is no regular file"):
                next(source)
            with pytest.raises(StopIteration):
                next(source)


@pytest.mark.parametrize("content", [b"this is no picture", b"\x89PNG\r\n\x1a\n"])
def test_a_source_of_which_no_frame_is_good_is_an_error(
    bundle: Bundle, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "only.png"
    path.write_bytes(content)
    with pytest.raises(FramesFailed, match=r"the only frame failed: .*only\.png is neither"):
        watch_source(bundle, [], str(path))
    (tmp_path / "two.png").write_bytes(content)
    with pytest.raises(FramesFailed, match=r"all 2 frames failed, the last: .*two\.png"):
        watch_source(bundle, [], str(tmp_path))


def test_a_folder_of_hidden_pictures_holds_none(tmp_path: Path) -> None:
    write(tmp_path / "0.png", GREY)
    (tmp_path / "0.png").rename(tmp_path / "._0.png")
    with pytest.raises(SourceError, match="holds no picture"):
        open_source(str(tmp_path), "gate")


def test_any_bytes_in_a_name_are_printed_safely(tmp_path: Path) -> None:
    path = tmp_path / "plain.png"
    write(path, GREY)
    odd = os.fsencode(tmp_path) + b"/\xff\x1b[31m\nlate.png"
    os.rename(path, odd)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.png")).write_bytes(b"no picture")
    with open_source(str(tmp_path), "gate") as source:
        with pytest.raises(FrameError) as error:
            next(source)
        frame = next(source)
    assert frame.name == "\\udcff\\x1b[31m\\nlate.png"
    for text in (frame.name, error.value.name, error.value.message):
        assert text.isprintable()
        assert text.encode()
        assert json.loads(json.dumps(text)) == text
    assert printable("Straße 7.png") == "Straße 7.png"


def test_an_error_of_our_own_is_typed() -> None:
    assert FramesFailed("x").code == "frames"
    assert isinstance(FrameError("x", 1), SaccadeError)
