"""The bound from the cloud's load, step by step, at times that the test sets."""

from __future__ import annotations

import pytest

from saccade_cloud.cloud_load import ASKED_S, DOWN_S, MOST_UP, STEPS, UP_S, UPDATE_S, WINDOW_S, Load

# ISO 3, series R20, one decade.
R20 = (10, 11.2, 12.5, 14, 16, 18, 20, 22.4, 25, 28, 31.5, 35.5, 40, 45, 50, 56, 63, 71, 80, 90)
NOW_S = 1000.0


def loaded(waiting: int = 4, at_s: float = NOW_S, edge: object = "edge") -> Load:
    """Questions that came at once about as many frames, and nothing is served."""
    load = Load(1.0)
    for sequence in range(1, waiting + 1):
        load.asks(edge, sequence, at_s)
    return load


def test_steps_are_whole_numbers_to_10_and_then_r20_to_500() -> None:
    series = [round(value * ten) for ten in (1, 10, 100) for value in R20]
    assert list(STEPS) == [*range(1, 10), *(n for n in series if n <= 500)]


def served(count: int) -> Load:
    """So many questions came and were served at once, in two seconds' window."""
    load = Load(1.0)
    for number in [load.asks("edge", n, NOW_S) for n in range(1, count + 1)]:
        load.begins(number, NOW_S)
    load.bound("edge", NOW_S)
    return load


def wait_said(load: Load, now_s: float) -> str:
    """The wait, in seconds, in the reason of a bound."""
    reason = load.bound("edge", now_s)[1]
    assert reason.startswith("answers wait ")
    return reason.split()[2]


def test_the_wait_is_the_age_of_the_oldest_while_no_rate_is_known() -> None:
    load = Load(1.0)
    first = load.asks("edge", 1, NOW_S)
    load.asks("edge", 2, NOW_S + 0.5)
    load.leaves(first)
    assert wait_said(load, NOW_S + 1.8) == "1.3"


def test_the_wait_is_that_of_the_queue_at_the_rate_that_was_served() -> None:
    load = served(8)  # four a second
    for n in range(10):
        load.asks("edge", 100 + n, NOW_S + 0.1)
    assert wait_said(load, NOW_S + 0.3) == "2.5"


def test_a_rate_that_is_not_served_any_more_fades_by_a_fortieth_an_update() -> None:
    load = served(8)
    load.bound("edge", NOW_S + WINDOW_S + 0.01)  # out of the window
    for n in range(40):
        load.asks("edge", 100 + n, NOW_S + 2.2)
    assert wait_said(load, NOW_S + 2.3) == "10.5"  # 40 at 4 x 0.975 x 0.975 a second


def test_a_later_token_or_an_unknown_number_serves_nothing() -> None:
    load = Load(1.0)
    number = load.asks("edge", 1, NOW_S)
    for _ in range(4):
        load.begins(number, NOW_S)
    load.begins(None, NOW_S)
    load.leaves(None)
    for n in (2, 3):
        load.asks("edge", n, NOW_S)
    assert wait_said(load, NOW_S + 0.3) == "4.0"  # two, of which one goes in two seconds


def test_a_wait_of_exactly_the_longest_is_no_bound_yet() -> None:
    assert loaded().bound("edge", NOW_S + 1.0) == (0, "")
    frames, reason = loaded().bound("edge", NOW_S + 1.001)
    assert frames > 0
    assert reason == "answers wait 1.0 s for the engine, 1 camera"


def test_the_reason_counts_the_cameras_that_asked() -> None:
    load = loaded()
    for edge in ("b", "c"):
        load.asks(edge, 1, NOW_S)
    assert load.bound("edge", NOW_S + 1.5)[1] == "answers wait 1.5 s for the engine, 3 cameras"


def test_it_is_reckoned_anew_every_quarter_of_a_second_and_not_more_often() -> None:
    load = loaded()
    assert load.bound("edge", NOW_S + 0.99) == (0, "")
    assert load.bound("edge", NOW_S + 0.99 + UPDATE_S - 0.001) == (0, "")
    assert load.bound("edge", NOW_S + 0.99 + UPDATE_S)[0] > 0


def test_a_bound_falls_again_after_two_seconds_and_no_sooner() -> None:
    load = loaded()
    assert load.bound("edge", NOW_S + 1.5)[0] == 56  # at most a quarter of 240
    for n in (101, 102):
        load.asks("edge", n, NOW_S + 3.0)
    assert load.bound("edge", NOW_S + 1.5 + DOWN_S - 0.01)[0] == 56
    assert load.bound("edge", NOW_S + 1.5 + DOWN_S + UPDATE_S)[0] == 28  # of 120


def test_a_bound_rises_by_three_steps_every_two_seconds_when_nothing_waits() -> None:
    load = Load(1.0)
    numbers = [load.asks("edge", n, NOW_S) for n in range(1, 5)]
    first, _ = load.bound("edge", NOW_S + 1.5)
    for number in numbers:
        load.leaves(number)
    at = STEPS.index(first)
    assert load.bound("edge", NOW_S + 1.5 + UP_S - 0.01)[0] == first
    for rises in (1, 2, 3):
        when_s = NOW_S + 1.5 + rises * (UP_S + UPDATE_S)
        assert load.bound("edge", when_s)[0] == STEPS[at + rises * MOST_UP]


def test_a_bound_ends_after_the_last_step() -> None:
    load = Load(1.0)
    numbers = [load.asks("edge", n, NOW_S) for n in range(1, 5)]
    load.bound("edge", NOW_S + 1.5)
    for number in numbers:
        load.leaves(number)
    frames = [load.bound("edge", NOW_S + 3.0 + 2.25 * n)[0] for n in range(30)]
    above = [n for n in frames if n]
    assert above == sorted(above)
    assert frames[-1] == 0
    assert len(above) == -(-(len(STEPS) - STEPS.index(above[0])) // MOST_UP)


def test_who_has_not_asked_for_two_minutes_is_not_bounded() -> None:
    load = loaded()
    assert load.bound("edge", NOW_S + 1.5)[0] > 0
    assert load.bound("edge", NOW_S + ASKED_S)[0] > 0
    assert load.bound("edge", NOW_S + ASKED_S + 0.01) == (0, "")
    assert load.bound("never", NOW_S + 1.0) == (0, "")


def test_who_asks_again_is_bounded_again() -> None:
    load = loaded()
    load.bound("edge", NOW_S + 1.5)
    load.asks("edge", 7, NOW_S + ASKED_S)
    assert load.bound("edge", NOW_S + ASKED_S + 1.0)[0] > 0


def test_a_stream_that_ended_has_no_share_and_no_bound() -> None:
    load = loaded()
    load.asks("other", 1, NOW_S)
    load.ended("edge")
    load.ended("edge")
    assert load.bound("edge", NOW_S + 1.5) == (0, "")
    assert load.bound("other", NOW_S + 1.5)[1].endswith("1 camera")


@pytest.mark.parametrize(("cameras", "frames"), [(1, 140), (2, 71), (4, 36)])
def test_a_fall_is_to_a_quarter_of_an_equal_share_of_what_was_asked(
    cameras: int, frames: int
) -> None:
    """Ten frames in a second are 600 a minute; nothing is served. A step is at or below."""
    load = Load(1.0)
    for n in range(10):
        load.asks(f"edge {n % cameras}", n + 1, NOW_S + n / 9)
    assert load.bound("edge 0", NOW_S + 1.8)[0] == frames
