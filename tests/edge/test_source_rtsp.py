"""A network camera whose clock, pictures or connection cannot be relied on."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.types import Frame
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import CameraState
from saccade_edge.source.live import LiveSource
from saccade_edge.source.video import Video
from saccade_edge.watch_events import Event, FrameSent
from saccade_testing.rtsp_camera import Habits, RtspCamera
from saccade_testing.scripted_cloud import scripted_cloud

TCP = {"rtsp_transport": "tcp"}
FAST = 30.0

# What may be wrong with a camera's clock, at its frame 20 of 60.
CLOCKS: dict[str, Callable[[int], float]] = {
    "even": lambda n: n / FAST,
    "spike ahead": lambda n: n / FAST + (37_600 if n == 20 else 0),
    "spike back": lambda n: n / FAST - (9_800 if n == 20 else 0),
    "step back": lambda n: n / FAST - (5 if n >= 20 else 0),
    "step ahead": lambda n: n / FAST + (9_000 if n >= 20 else 0),
    "restart": lambda n: (n - 20 if n >= 20 else n) / FAST,
    "wrap": lambda n: n / FAST + (2**32 / 90_000 - 20 / FAST),
    "stands still": lambda n: 1.0,
    "runs backwards": lambda n: 1_000 - n / FAST,
}


@contextmanager
def watched(
    camera: RtspCamera, timeout_s: float = 20, fps: float | None = None
) -> Iterator[LiveSource]:
    opening = partial(Video, camera.url, camera.url, options=TCP, timeout_s=timeout_s, prompt=True)
    with LiveSource(opening, "gate", fps=fps, retry_pauses_s=(0.1,)) as source:
        yield source


def first(source: LiveSource, count: int) -> list[Frame]:
    return list(itertools.islice(source, count))


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_cameras_clock_holds_no_frame_back(clock: str) -> None:
    with RtspCamera(Habits(rate=FAST, stamp_s=CLOCKS[clock])) as camera:
        with watched(camera) as source:
            frames = first(source, 40)
            assert source.undecoded == 0
        assert camera.calls == 1
    # A slow machine misses some; a camera that is blind from frame 20 on ends at 20.
    assert 40 <= frames[-1].sequence <= 60
    captured = [frame.captured_ns for frame in frames]
    assert captured == sorted(captured)
    assert abs(captured[-1] - time.time_ns()) < 5e9


def test_frames_per_second_are_kept_over_a_jump() -> None:
    with (
        RtspCamera(Habits(rate=FAST, stamp_s=CLOCKS["spike ahead"])) as camera,
        watched(camera, fps=10) as source,
    ):
        frames = first(source, 12)
    assert frames[-1].sequence >= 30
    assert (frames[-1].captured_ns - frames[0].captured_ns) / 1e9 >= 11 * 0.1 - 0.08


@pytest.mark.parametrize(
    ("habits", "reason"),
    [
        (Habits(rate=FAST, noise_from=10), "it sends data, but no picture since"),
        (Habits(rate=FAST, silent_from=10), "no answer within 1 s"),
        (Habits(rate=FAST, hangs_up_at=10), "ended"),
    ],
    ids=["noise", "silence", "hangs up"],
)
def test_a_camera_that_gives_no_picture_is_told_and_opened_again(
    habits: Habits, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RtspCamera(habits) as camera:
        with watched(camera, timeout_s=1) as source:
            frames = []
            while camera.calls < 3:
                frames.append(next(source))
        numbers = [frame.sequence for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] > 10
    assert reason in caplog.text


@pytest.mark.parametrize(
    "habits",
    [
        Habits(answers=False),
        Habits(rate=FAST, silent_from=10),
        Habits(rate=FAST, noise_from=10),
        Habits(rate=FAST, stamp_s=CLOCKS["spike ahead"]),
    ],
    ids=["no answer", "silence", "noise", "spike"],
)
def test_closing_takes_less_than_a_second_whatever_the_camera_does(habits: Habits) -> None:
    with RtspCamera(habits) as camera:
        with watched(camera) as source:
            if habits.answers:
                assert next(source).size == (96, 160)
            time.sleep(0.3)
            began_s = time.monotonic()
            source.close()
            source.close()
            took_s = time.monotonic() - began_s
            assert list(source) == []
        assert took_s < 1
    for thread in threading.enumerate():  # its camera is gone: the reader has ended by itself
        if thread.name == "camera-gate":
            thread.join(5)
            assert not thread.is_alive()


def test_the_camera_state_says_since_when_and_why_it_cannot_be_read() -> None:
    begun_ms = time.time_ns() // 1_000_000
    camera = RtspCamera(Habits(rate=FAST, hangs_up_at=10))
    opening = partial(Video, camera.url, "camera", options=TCP, timeout_s=5, prompt=True)
    with LiveSource(opening, "gate", retry_pauses_s=(5.0,)) as source:
        assert source.camera_state is not None
        assert not source.camera_state.readable
        next(source)
        state = source.camera_state
        assert (state.readable, state.trouble, state.next_try_unix_ms) == (True, "", None)
        assert begun_ms <= state.since_unix_ms <= (state.last_frame_unix_ms or 0)
        lost = _wait_for(source, lambda state: not state.readable)
        assert lost.trouble == "camera ended"
        assert lost.next_try_unix_ms == pytest.approx(lost.since_unix_ms + 5_000, abs=200)
        assert lost.last_frame_unix_ms is not None
    camera.close()


def _wait_for(source: LiveSource, holds: Callable[[CameraState], bool]) -> CameraState:
    for _ in range(1_000):
        state = source.camera_state
        if state is not None and holds(state):
            return state
        time.sleep(0.01)
    raise AssertionError(f"the camera's state stays {source.camera_state}")


def test_a_watch_ends_within_a_second_although_its_camera_is_silent(bundle: Bundle) -> None:
    async def test(camera: RtspCamera) -> float:
        sent = asyncio.Event()

        def show(event: Event) -> None:
            if isinstance(event, FrameSent):
                sent.set()

        async with scripted_cloud(bundle) as cloud:
            pipeline = PipelineSettings(
                encode=EncodeOptions(codec="f16"),
                gate=GateSettings(threshold=0),
                runtime=RuntimeSettings(threads=1),
            )
            settings = WatchSettings(camera.url, cloud.address, pipeline=pipeline)
            watch = Watch(bundle, settings, show)
            running = asyncio.ensure_future(watch.run())
            await asyncio.wait_for(sent.wait(), 30)
            await asyncio.sleep(1)  # by now it is silent, and nothing is under way
            began_s = time.monotonic()
            watch.stop()
            await running
            return time.monotonic() - began_s

    with RtspCamera(Habits(rate=FAST, silent_from=20)) as camera:
        assert asyncio.run(test(camera)) < 1
