from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.errors import SourceError
from saccade_edge.source import open_source
from saccade_edge.source.live import LiveSource
from saccade_edge.source.slot import NewestSlot
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
        self._thread = threading.Thread(target=self._serve)
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


def test_a_camera_cannot_be_asked_for_every_frame() -> None:
    with pytest.raises(SourceError, match="cannot give every frame") as caught:
        open_source("rtsp://user:secret@127.0.0.1:9/x", "gate", live=False)
    assert "secret" not in str(caught.value)
