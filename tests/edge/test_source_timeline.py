"""Time stamps from outside are not a clock."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.types import Frame
from saccade_edge.source import open_source
from saccade_edge.source.timeline import MAX_GAP_S, ArrivalClock, Sampler, Timeline
from saccade_testing.clips import B_FRAMES, Making, clip_bytes, moving, write_stamped
from saccade_testing.frames import read_all


def times(stamps: Sequence[float | None], interval_s: float | None = 0.1) -> list[float]:
    """What the timeline makes of ``stamps`` in seconds, rounded to a millisecond."""
    timeline = Timeline(interval_s)
    exact = [None if stamp is None else Fraction(str(stamp)) for stamp in stamps]
    following = [*exact[1:], None]
    return [
        round(timeline.place(stamp, after), 3)
        for stamp, after in zip(exact, following, strict=True)
    ]


def test_even_stamps_are_taken_as_they_are_wherever_they_begin() -> None:
    assert times([0, 0.1, 0.2, 0.3]) == [0, 0.1, 0.2, 0.3]
    assert times([-5, -4.9, -4.8]) == [0, 0.1, 0.2]
    assert times([2**62, 2**62 + 1, 2**62 + 2]) == [0, 1, 2]


def test_uneven_stamps_keep_their_steps() -> None:
    assert times([0, 0.02, 0.5, 4, 4.04]) == [0, 0.02, 0.5, 4, 4.04]


def test_a_restart_joins_the_second_part_one_interval_after_the_first() -> None:
    assert times([0, 0.1, 0.2, 0, 0.1, 0.2]) == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert times([9_000, 9_000.1, 0.5, 0.6]) == [0, 0.1, 0.2, 0.3]


def test_a_counter_that_wraps_goes_on() -> None:
    wrap = Fraction(2**33, 90_000)
    stamps = [float(wrap) - 0.2, float(wrap) - 0.1, 0, 0.1]
    assert times(stamps) == [0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("spike", [37_600, -9_800, 10.0**12, -(10.0**12), 15])
def test_one_stamp_that_is_off_costs_nothing(spike: float) -> None:
    assert times([0, 0.1, 0.2 + spike, 0.3, 0.4]) == [0, 0.1, 0.2, 0.3, 0.4]
    assert times([0, 0.1, 0.2 + spike]) == [0, 0.1, 0.2]


@pytest.mark.parametrize("first", [37_600, -(10.0**12), 10.0**12])
def test_a_first_stamp_that_is_off_costs_nothing(first: float) -> None:
    assert times([first, 0.1, 0.2, 0.3]) == [0, 0.1, 0.2, 0.3]


def test_frames_in_the_wrong_order_do_not_stretch_time() -> None:
    placed = times([0, 0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.8, 0.7, 1.0, 1.1, 1.2])
    assert placed == sorted(placed)
    assert placed[-1] == pytest.approx(1.2, abs=0.1)


def test_a_gap_of_hours_that_the_next_frame_confirms_is_kept() -> None:
    assert times([0, 0.1, 7_200, 7_200.1]) == [0, 0.1, 7_200, 7_200.1]
    assert times([0, 60, 120, 180]) == [0, 60, 120, 180]  # one picture a minute
    years = 10 * MAX_GAP_S
    assert times([0, 0.1, years, years + 0.1]) == [0, 0.1, 0.2, 0.3]


def test_missing_and_equal_stamps_count_as_one_interval_each() -> None:
    assert times([None, None, None]) == [0, 0.1, 0.2]
    assert times([0, None, None, 0.3]) == [0, 0.1, 0.2, 0.3]
    assert times([5, 5, 5, 5]) == [0, 0.1, 0.2, 0.3]
    assert times([0, 0, 0, 0, 1, 1, 1, 1, 2], interval_s=0.25)[-1] == 2
    assert times([0, 0.0, 10.0**-9, 2 * 10.0**-9]) == [0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("interval_s", [None, 0.0, 1e-9, 1e9])
def test_a_rate_that_cannot_be_is_replaced_by_a_usual_one(interval_s: float | None) -> None:
    assert times([None, None, None], interval_s) == [0, 0.04, 0.08]


@given(
    st.lists(
        st.none()
        | st.fractions(-(2**63), 2**63, max_denominator=90_000)
        | st.integers(-50, 50).map(lambda tenths: Fraction(tenths, 10)),
        max_size=60,
    )
)
def test_time_advances_at_every_frame_whatever_the_stamps(stamps: list[Fraction | None]) -> None:
    timeline = Timeline(0.1)
    placed = [
        timeline.place(stamp, following)
        for stamp, following in itertools.zip_longest(stamps, stamps[1:])
    ]
    assert all(later > earlier for earlier, later in itertools.pairwise(placed))
    assert not placed or (placed[0] == 0 and placed[-1] <= len(placed) * MAX_GAP_S)


def test_sampling_keeps_the_rate_and_makes_up_for_no_gap() -> None:
    sampler = Sampler(2)
    taken = [t for t in (0, 0.2, 0.4, 0.6, 1.0, 9.0, 9.2, 9.5) if sampler.takes(t)]
    assert taken == [0, 0.6, 1.0, 9.0, 9.5]


def test_sampling_a_camera_at_its_own_rate_takes_every_frame_although_they_jitter() -> None:
    jitter = np.random.default_rng(3).uniform(-0.02, 0.02, 200)
    sampler = Sampler(10, early=0.25)
    taken = sum(sampler.takes(step / 10 + late) for step, late in enumerate(jitter))
    assert taken >= 199
    half = Sampler(5, early=0.25)
    assert 99 <= sum(half.takes(step / 10 + late) for step, late in enumerate(jitter)) <= 102


def test_arrival_never_goes_back_when_the_systems_clock_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ArrivalClock()
    before_ns = clock.now_ns()
    assert abs(before_ns - time.time_ns()) < 1e9
    hour_ns = 3_600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: before_ns - hour_ns)
    read = [clock.now_ns()]
    time.sleep(0.05)
    read.append(clock.now_ns())
    assert before_ns <= read[0]
    assert 0.02e9 < read[1] - read[0] < 1e9  # it runs on, at half the speed
    monkeypatch.setattr(time, "time_ns", lambda: before_ns + hour_ns)
    assert clock.now_ns() == before_ns + hour_ns


def frames_of(path: Path, fps: float | None = None) -> list[Frame]:
    with open_source(str(path), "gate", fps=fps) as source:
        frames, failures = read_all(source)
    assert failures == []
    return frames


def seconds(frames: list[Frame]) -> list[float]:
    return [round((f.captured_ns - frames[0].captured_ns) / 1e9, 2) for f in frames]


JOINABLE = [
    ("mpegts", "libx264", B_FRAMES),
    ("mpegts", "mpeg2video", {"g": "10"}),
    ("flv", "libx264", {"g": "10", "bf": "0"}),
    ("mpeg", "mpeg2video", {"g": "10"}),
    ("matroska", "libx264", B_FRAMES),
    ("webm", "libvpx", {}),
    ("avi", "mpeg4", {"g": "10"}),
    ("h264", "libx264", B_FRAMES),
    ("mjpeg", "mjpeg", {}),
]


@pytest.mark.parametrize(
    ("container", "codec", "options"), JOINABLE, ids=[f"{c}-{k}" for c, k, _ in JOINABLE]
)
def test_two_recordings_in_one_file_give_all_frames_and_one_time(
    container: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    making = Making(
        container, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", rate=25, options=options
    )
    part = clip_bytes(moving(20), making)
    path = tmp_path / "joined.bin"
    # An FLV's second header ends FFmpeg's reading; recorders that go on write none.
    path.write_bytes(part + (part[13:] if container == "flv" else part))
    frames = frames_of(path)
    assert [f.sequence for f in frames] == list(range(1, 41))
    # The MPEG demuxers keep the parts' own start: up to a second from zero.
    assert np.allclose(np.diff(seconds(frames)), 0.04, atol=0.021)
    assert len(frames_of(path, fps=5)) == pytest.approx(8, abs=1)


@pytest.mark.parametrize(
    ("jump_ms", "span_s"),
    [(-1_500, 3.9), (37_600_000, 37_603.9), (10 * 86_400_000, 3.9), (-10 * 86_400_000, 3.9)],
    ids=["back", "hours", "days", "days back"],
)
def test_a_jump_in_a_recording_loses_no_frame(jump_ms: int, span_s: float, tmp_path: Path) -> None:
    stamps = [n * 100 + (jump_ms if n >= 20 else 0) for n in range(40)]
    path = write_stamped(tmp_path / "jump.flv", stamps)
    frames = frames_of(path)
    assert [f.sequence for f in frames] == list(range(1, 41))
    assert seconds(frames)[-1] == pytest.approx(span_s, abs=0.15)
    assert len(frames_of(path, fps=5)) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("spike_ms", [37_600_000, 10 * 86_400_000, -9_800_000])
@pytest.mark.parametrize("at", [0, 20, 39])
def test_one_wrong_stamp_in_a_recording_loses_no_frame(
    spike_ms: int, at: int, tmp_path: Path
) -> None:
    if at == 0:
        spike_ms = abs(spike_ms)  # before the others it is a gap, which the next one confirms
    stamps = [n * 100 + (spike_ms if n == at else 0) for n in range(40)]
    frames = frames_of(write_stamped(tmp_path / "spike.flv", stamps))
    assert [f.sequence for f in frames] == list(range(1, 41))
    assert np.allclose(np.diff(seconds(frames)), 0.1, atol=0.01)


def test_a_recording_whose_stamps_are_all_the_same_is_sampled_by_its_rate(tmp_path: Path) -> None:
    path = write_stamped(tmp_path / "still.flv", [0] * 40)
    assert len(frames_of(path)) == 40
    assert 5 <= len(frames_of(path, fps=5)) <= 20
