from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from saccade.nouns import Frame
from saccade_edge.gate import Gate, GateSettings, Sent, Verdict, judge, thumbnail

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
