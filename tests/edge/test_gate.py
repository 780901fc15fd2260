from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from saccade.types import Frame
from saccade_edge.gate import Gate, GateSettings, Sent, Verdict, difference, judge, thumbnail

MakeFrame = Callable[..., Frame]
SECOND_NS = 1_000_000_000


def noisy(frame: Frame, seed: int) -> Frame:
    noise = np.random.default_rng(seed).normal(0, 5, frame.picture.shape)
    picture = np.clip(frame.picture + noise, 0, 255).astype(np.uint8)
    return replace(frame, picture=picture)


def street(make_frame: MakeFrame) -> Frame:
    return make_frame(picture=np.full((384, 640, 3), 100, np.uint8))


def test_the_first_frame_passes(make_frame: MakeFrame) -> None:
    assert Gate(GateSettings()).judge(make_frame()) == Verdict("key", "first", 0.0)


def test_sensor_noise_alone_is_nothing_new(make_frame: MakeFrame) -> None:
    gate, still = Gate(GateSettings()), street(make_frame)
    kinds = [gate.judge(noisy(still, seed)).kind for seed in range(5)]
    assert kinds == ["key", "skip", "skip", "skip", "skip"]


def test_a_distant_car_is_new_even_in_noise(make_frame: MakeFrame) -> None:
    gate, still = Gate(GateSettings()), street(make_frame)
    gate.judge(noisy(still, 1))
    picture = still.picture.copy()
    picture[150:170, 300:330] = 190  # 0.2 % of the frame
    assert gate.judge(noisy(replace(still, picture=picture), 2)).reason == "changed"


def test_a_light_that_turns_green_is_new_although_as_bright(make_frame: MakeFrame) -> None:
    gate, still = Gate(GateSettings()), street(make_frame)
    red, green = still.picture.copy(), still.picture.copy()
    red[40:48, 500:508] = (200, 30, 30)
    green[40:48, 500:508] = (30, 117, 30)  # the same luma
    gate.judge(replace(still, picture=red))
    assert gate.judge(replace(still, picture=green)).reason == "changed"


def test_slow_drift_is_measured_against_the_last_frame_that_passed(make_frame: MakeFrame) -> None:
    gate = Gate(GateSettings(threshold=4))
    frames = [
        make_frame(picture=np.full((96, 160, 3), level, np.uint8)) for level in range(100, 112)
    ]
    passed = [level for level, frame in enumerate(frames) if gate.judge(frame).kind == "key"]
    assert passed == [0, 4, 8]


def test_silence_ends_after_its_time(make_frame: MakeFrame) -> None:
    still = thumbnail(make_frame())
    last, settings = Sent(still, 0), GateSettings(max_silence_s=10)
    assert judge(Sent(still, 10 * SECOND_NS - 1), last, settings).reason == "unchanged"
    assert judge(Sent(still, 10 * SECOND_NS), last, settings).reason == "silence"


def test_a_threshold_of_zero_lets_every_frame_pass(make_frame: MakeFrame) -> None:
    gate = Gate(GateSettings(threshold=0))
    assert [gate.judge(make_frame()).kind for _ in range(3)] == ["key"] * 3


def test_the_difference_is_the_mean_of_the_cell_and_colour_that_changed_most() -> None:
    """Cells are 4 x 4 pixels of the thumbnail of 48 x 80."""
    then = np.full((48, 80, 3), 100, np.float32)
    now = then.copy()
    now[4:8, 76:80, 1] += np.arange(16, dtype=np.float32).reshape(4, 4)  # 7.5 on average
    now[0, 0, 0] -= 100  # 6.25 of its cell
    assert difference(now, then) == difference(then, now) == 7.5
    now[40:44, 0:4] -= 8
    assert difference(now, then) == 8.0


def test_a_thumbnail_is_the_mean_of_each_area(make_frame: MakeFrame) -> None:
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[2, 4] = (40, 80, 120)  # one of the four pixels of thumbnail pixel (1, 2)
    small = thumbnail(make_frame(picture=picture))
    assert small.shape == (48, 80, 3)
    assert small.dtype == np.float32
    assert small[1, 2].tolist() == [10, 20, 30]
    assert np.count_nonzero(small) == 3


def test_a_change_of_exactly_the_threshold_passes() -> None:
    then = np.full((48, 80, 3), 100, np.float32)
    last = Sent(then, 0)
    for level, verdict in ((4.0, "key"), (3.99, "skip")):
        got = judge(Sent(then + np.float32(level), 1), last, GateSettings(threshold=4.0))
        assert got.kind == verdict
        assert got.difference == pytest.approx(level, abs=1e-4)


def test_only_frames_that_pass_start_the_silence_anew(make_frame: MakeFrame) -> None:
    gate = Gate(GateSettings(threshold=4, max_silence_s=10))
    picture = np.full((96, 160, 3), 100, np.uint8)
    seconds = (0, 4, 8, 12, 16, 21, 22)
    frames = [
        replace(make_frame(picture=picture), captured_ns=second * SECOND_NS) for second in seconds
    ]
    reasons = [gate.judge(frame).reason for frame in frames]
    quiet = "unchanged"
    assert reasons == ["first", quiet, quiet, "silence", quiet, quiet, "silence"]


def test_the_defaults_are_4_levels_and_10_seconds() -> None:
    assert (GateSettings().threshold, GateSettings().max_silence_s) == (4.0, 10.0)
