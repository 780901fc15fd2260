from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from saccade.errors import SourceError
from saccade_edge.source import open_source
from saccade_edge.source.live import LiveSource
from saccade_edge.source.newest_slot import NewestSlot
from saccade_edge.source.video import Video

MakeVideo = Callable[..., Path]


def camera_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("camera-")]


class Box:
    """An encoder box: plays a file's bytes to each caller, then hangs up."""

    def __init__(self, path: Path) -> None:
        self._content = path.read_bytes()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with caller, contextlib.suppress(OSError):
                caller.sendall(self._content)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def test_the_slot_keeps_the_newest_only() -> None:
    slot: NewestSlot[int] = NewestSlot()
    for item in (1, 2, 3):
        slot.put(item)
    assert (slot.take(), slot.replaced) == (3, 2)
    slot.put(4)
    slot.close()
    assert (slot.take(), slot.take()) == (4, None)


def test_a_video_played_live_drops_what_a_slow_consumer_misses(make_video: MakeVideo) -> None:
    with open_source(str(make_video(frames=20, fps=40)), "gate", live=True) as source:
        assert source.live
        numbers = []
        for frame in source:
            numbers.append(frame.sequence)
            time.sleep(0.1)
    assert numbers == sorted(set(numbers))
    assert 2 <= len(numbers) < 12
    assert camera_threads() == []


def test_closing_a_live_source_wakes_its_consumer_and_leaves_no_thread(
    make_video: MakeVideo,
) -> None:
    def absent() -> Video:
        return Video("tcp://127.0.0.1:9", "tcp://127.0.0.1:9", timeout_s=1)

    source = LiveSource(absent, "gate")
    threading.Timer(0.2, source.close).start()
    began = time.monotonic()
    assert list(source) == []
    assert time.monotonic() - began < 3
    source.close()
    assert camera_threads() == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reader_that_breaks_down_is_an_error_and_no_endless_wait() -> None:
    def defective() -> Video:
        raise ZeroDivisionError

    source = LiveSource(defective, "gate")
    with source, pytest.raises(SourceError, match="reader of camera gate broke down"):
        next(source)


def test_a_camera_that_comes_back_is_read_on_with_rising_numbers(make_video: MakeVideo) -> None:
    box = Box(make_video(frames=20, fps=10, name="street.ts"))
    numbers: list[int] = []
    with LiveSource(
        lambda: Video(box.url, box.url, driver="mpegts", timeout_s=5), "gate", retry_pauses_s=(0.1,)
    ) as source:
        while not numbers or numbers[-1] <= 40:  # beyond the second visit of 20 frames
            numbers.append(next(source).sequence)
    box.close()
    assert numbers == sorted(set(numbers))
    assert camera_threads() == []


class Openings:
    """Opens a box's video; those at ``broken`` (from 1) fail. Notes when each began."""

    def __init__(self, box: Box, broken: range) -> None:
        self._box = box
        self._broken = broken
        self.at_s: list[float] = []

    def __call__(self) -> Video:
        self.at_s.append(time.monotonic())
        if len(self.at_s) in self._broken:
            raise SourceError(f"try {len(self.at_s)} failed")
        return Video(self._box.url, "box", driver="mpegts", timeout_s=5)

    @property
    def pauses_s(self) -> list[float]:
        return [later - earlier for earlier, later in itertools.pairwise(self.at_s)]


def test_a_camera_is_tried_again_for_ever(
    make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    box = Box(make_video(frames=20, name="street.ts"))
    opening = Openings(box, broken=range(1, 41))
    with LiveSource(opening, "gate", retry_pauses_s=(0.001, 0.002, 0.003)) as source:
        assert next(source).sequence >= 1
        assert source.camera_state is not None
        assert source.camera_state.trouble == ""
    box.close()
    assert len(opening.at_s) >= 41
    told = [record.message for record in caplog.records if "failed; again in" in record.message]
    assert told[0] == "camera gate: try 1 failed; again in 0.001 s"
    assert told[-1] == "camera gate: try 40 failed; again in 0.003 s"
    assert len(told) == 40


def test_the_pauses_between_tries_grow_and_begin_anew_after_a_frame(make_video: MakeVideo) -> None:
    box = Box(make_video(frames=3, name="street.ts"))
    opening = Openings(box, broken=range(1, 4))
    with LiveSource(opening, "gate", retry_pauses_s=(0.05, 0.2, 1.0)) as source:
        while len(opening.at_s) < 6:
            next(source)
    box.close()
    first, second, third, *after = opening.pauses_s
    assert first >= 0.05
    assert second >= 0.2
    assert third >= 1.0
    assert 0.05 <= min(after) < 1.0  # each opening from the fourth on gives frames


def test_a_played_recording_ends_with_its_last_frame_and_is_no_camera(
    make_video: MakeVideo,
) -> None:
    path = make_video(frames=12, fps=20)
    began_s = time.monotonic()
    with open_source(str(path), "gate", live=True) as source:
        assert source.camera_state is None
        numbers = [frame.sequence for frame in source]
        assert list(source) == []
    assert numbers[-1] == 12
    assert time.monotonic() - began_s >= 11 / 20  # at its own pace


def test_a_played_recording_that_breaks_off_says_so_after_its_frames(tmp_path: Path) -> None:
    def opening() -> Video:
        raise SourceError("the disk is gone")

    with (
        LiveSource(opening, "gate", endless=False) as source,
        pytest.raises(SourceError, match="the disk is gone"),
    ):
        next(source)


def test_a_played_recording_is_sampled_by_its_own_time(make_video: MakeVideo) -> None:
    with open_source(str(make_video(frames=12, fps=12)), "gate", live=True, fps=4) as source:
        numbers = [frame.sequence for frame in source]
    assert numbers[-1] == 10
    assert set(numbers) <= {1, 4, 7, 10}  # a slow machine may miss one


def test_a_slow_consumer_gets_the_newest_and_the_rest_is_counted(make_video: MakeVideo) -> None:
    box = Box(make_video(frames=20, name="street.ts"))
    with LiveSource(
        lambda: Video(box.url, "box", driver="mpegts", timeout_s=5), "gate", retry_pauses_s=(60.0,)
    ) as source:
        while source.camera_state is None or source.camera_state.trouble == "":
            time.sleep(0.01)
        newest = next(source)
        assert (newest.sequence, source.replaced) == (20, 19)
    box.close()


def test_what_cannot_be_decoded_is_counted_and_the_rest_is_seen(
    make_video: MakeVideo, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video(frames=20, name="street.nut")
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for packet in packets[5:7]:
        at = data.index(packet)
        data[at : at + len(packet)] = bytes([0xFF]) * len(packet)
    path.write_bytes(data)
    with open_source(str(path), "gate", live=True) as source:
        numbers = [frame.sequence for frame in source]
        assert isinstance(source, LiveSource)
        assert source.undecoded == 2
    assert numbers[-1] == 20
    assert "cannot be decoded: Invalid data" in caplog.text


def test_a_closed_slot_takes_nothing() -> None:
    slot: NewestSlot[int] = NewestSlot()
    slot.close()
    slot.put(1)
    assert slot.take() is None


def test_a_camera_cannot_be_asked_for_every_frame() -> None:
    with pytest.raises(SourceError, match="cannot give every frame") as caught:
        open_source("rtsp://user:secret@127.0.0.1:9/x", "gate", live=False)
    assert "secret" not in str(caught.value)
