"""The estimator against numbers by hand, and the parts that a budget is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade_edge.budget.awstream import Awstream
from saccade_edge.budget.base import Delivery, Moment, Policy
from saccade_edge.budget.caps import DAY_S, DailyCap
from saccade_edge.budget.cloud_bound import CloudBound
from saccade_edge.budget.frame_interval import FrameInterval
from saccade_edge.budget.ladder import Ladder
from saccade_edge.budget.robust import Robust
from saccade_edge.budget.robust_rate import RobustRate
from saccade_edge.budget.trips import LEAST_SERVICE_S, LeastOf, Trips
from saccade_edge.budget.unacknowledged import MOST_PACKETS, Sent, Unacknowledged
from saccade_testing.budget_contract import MANIFEST, POINTS

deliveries = st.builds(
    Delivery,
    wire_bytes=st.integers(100, 12_000),
    acked_s=st.just(0.0),
    round_trip_s=st.floats(0.01, 3.0),
    least_round_trip_s=st.just(0.01),
    service_s=st.one_of(st.none(), st.floats(LEAST_SERVICE_S, 3.0)),
)


def packet(sequence: int, sent_s: float, wire_bytes: int = 1000) -> Sent:
    return Sent(sequence, wire_bytes - 100, wire_bytes, sent_s, None)


def moment(now_s: float, backlog: int, allowed: tuple[int, ...]) -> Moment:
    """With one packet of so many bytes that has been under way for half a second."""
    unacknowledged = Unacknowledged()
    if backlog:
        unacknowledged.add(packet(1, now_s - 0.5, backlog))
    return Moment(now_s, 0.5, 2.0, 0.01, unacknowledged, Ladder(MANIFEST, 100), allowed)


def test_the_rate_is_the_harmonic_mean_lowered_by_the_largest_recent_error() -> None:
    rate = RobustRate()
    for sample in (100, 50, 200, 100, 100):
        rate.add(sample)
    assert rate.mean == pytest.approx(5 / (0.01 + 0.02 + 0.005 + 0.01 + 0.01))
    # The means before each sample were 100, 66.7, 85.7, 88.9: off by 1, 2/3, 1/7, 1/9.
    assert rate.predicted == pytest.approx(90.909 / 2, rel=1e-4)


def test_the_rate_forgets_what_is_older_than_five() -> None:
    rate = RobustRate()
    for sample in (1, *[100] * 10):
        rate.add(sample)
    assert rate.predicted == rate.mean == pytest.approx(100)
    rate.clear()
    assert rate.predicted is None


def test_service_begins_when_the_packet_could_have_come_or_the_one_before_it_came() -> None:
    trips = Trips()
    assert trips.measure(0.0, 0, 0.1).service_s is None
    assert trips.measure(1.0, 0, 1.3).service_s == pytest.approx(0.2)  # since 1.1
    assert trips.measure(1.1, 0, 1.5).service_s == pytest.approx(0.2)  # since 1.3, not 1.2
    assert trips.measure(5.0, 0, 5.1).service_s == LEAST_SERVICE_S
    assert trips.least_round_trip_s == pytest.approx(0.1)


def test_acknowledgements_that_come_in_a_heap_are_told_apart_by_the_clouds_clock() -> None:
    trips = Trips()
    trips.measure(0.0, 1_000_050, 0.1)  # the clouds's clock is 1000 s ahead, the way takes 50 ms
    services = [
        trips.measure(sent_s, received_unix_ms, 2.0).service_s
        for sent_s, received_unix_ms in ((1.0, 1_001_150), (1.0, 1_001_350), (1.5, 1_001_650))
    ]
    assert services == pytest.approx([0.1, 0.2, 0.1])


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, -1_000_200])
def test_a_clouds_clock_that_jumps_is_not_believed(jump_ms: int) -> None:
    trips = Trips()
    trips.measure(0.0, 2_000_050, 0.1)
    trips.measure(1.0, 2_001_050, 1.1)
    jumped = trips.measure(2.0, 2_002_050 + jump_ms, 2.3)
    assert jumped.service_s == pytest.approx(0.2)  # by the edge's own times
    after = trips.measure(3.0, 2_003_100 + jump_ms, 3.15)
    assert after.service_s == pytest.approx(0.05)  # by the cloud's again


def test_the_least_is_forgotten_after_a_while() -> None:
    least = LeastOf(window_s=10.0)
    least.add(1.0, 0.0)
    least.add(3.0, 4.0)
    least.add(3.0, 6.0)
    assert least.value == 1.0
    least.add(3.0, 12.0)
    assert least.value == 3.0


def test_a_ladder_counts_headers_and_steps_over_what_the_wire_does_not_feel() -> None:
    stated = [50.0, 60.0, 99.0, 101.0, 300.0, 900.0]
    points = tuple(replace(POINTS[0], bytes=size) for size in stated)
    ladder = Ladder(
        replace(MANIFEST, points=points, selection=replace(MANIFEST.selection, point=0)), 100
    )
    every = tuple(range(len(points)))
    assert ladder.wire_bytes(0) == pytest.approx(150)
    assert ladder.best_within(200, every) == 2
    assert ladder.best_within(100, every) is None
    assert ladder.step_up(0, every) == 3  # 201 bytes are less than 1.5 x 150
    assert ladder.step_up(4, every) == 5  # the next, though more than twice as large
    assert ladder.step_up(5, every) == 5
    assert ladder.step_up(1, (0, 1, 5)) == 5


def test_a_ladder_learns_fast_what_is_dear_and_slowly_what_is_cheap_within_bounds() -> None:
    ladder = Ladder(MANIFEST, 0)
    size = POINTS[28].bytes
    ladder.learn(28, round(size * 2))
    assert ladder.ratio == pytest.approx(1.25, abs=0.001)
    ladder.learn(28, round(size))
    assert ladder.ratio == pytest.approx(1.2375, abs=0.001)
    for _ in range(1000):
        ladder.learn(0, 10**9)
    assert ladder.ratio == 4.0
    for _ in range(1000):
        ladder.learn(0, 0)
    assert ladder.ratio == 0.5


def test_a_flight_is_bounded_and_counts_its_bytes() -> None:
    unacknowledged = Unacknowledged()
    for number in range(MOST_PACKETS + 10):
        unacknowledged.add(packet(number, float(number)))
    assert len(unacknowledged) == MOST_PACKETS
    assert unacknowledged.wire_bytes == MOST_PACKETS * 1000
    oldest = unacknowledged.oldest()
    assert oldest is not None
    assert oldest.sequence == 10
    unacknowledged.add(packet(10, 9999.0, 500))  # said again
    assert unacknowledged.newest() == packet(10, 9999.0, 500)
    assert len(unacknowledged) == MOST_PACKETS
    unacknowledged.forget_before(1000.0)
    assert unacknowledged.bytes_before(1000.0) == 1000
    assert unacknowledged.take(12) is None
    unacknowledged.clear()
    assert (len(unacknowledged), unacknowledged.wire_bytes, unacknowledged.oldest()) == (0, 0, None)


def test_what_cannot_be_acknowledged_yet_is_a_backlog_only_beyond_what_the_link_carries() -> None:
    unacknowledged = Unacknowledged()
    unacknowledged.add(packet(1, 9.0, 1000))  # overdue
    unacknowledged.add(packet(2, 9.8, 4000))
    it = Moment(10.0, 0.5, 2.0, 0.6, unacknowledged, Ladder(MANIFEST, 100), (0,))
    assert it.overdue_bytes() == 1000
    assert it.backlog_bytes(5000.0) == pytest.approx(1000 + 4000 - 3000)
    assert it.backlog_bytes(50_000.0) == 1000


def test_a_pace_is_smoothed_and_knows_no_pauses() -> None:
    pace = FrameInterval(0.5)
    for number in range(50):
        pace.tick(number * 0.1)
    assert pace.interval_s == pytest.approx(0.1, rel=0.01)
    pace.tick(1000.0)
    assert pace.interval_s == pytest.approx(0.28, rel=0.01)  # as after a second
    pace.tick(0.0)
    assert pace.interval_s > 0


def test_a_cap_is_of_a_utc_day_and_shares_out_its_last_fifth() -> None:
    cap = DailyCap(1000)
    cap.at(3 * DAY_S + DAY_S / 2)
    cap.spend(799)
    assert cap.share_bytes(0.5) == math.inf
    cap.spend(1)
    assert cap.share_bytes(0.5) == pytest.approx(200 * 0.5 / (DAY_S / 2))
    cap.spend(300)
    assert cap.reached
    cap.at(math.nan)
    assert cap.reached
    cap.at(2 * DAY_S)  # set back
    assert not cap.reached
    cap.at(3 * DAY_S)  # and right again
    assert cap.reached
    cap.at(4 * DAY_S)
    assert cap.left_bytes == 1000


def test_a_clock_cannot_make_a_cap_remember_without_end() -> None:
    cap = DailyCap(1000)
    for day in range(100):
        cap.at(day * DAY_S)
        cap.spend(10)
    assert cap.used_bytes == 10
    assert len(cap._used) == 4


def test_a_bound_on_frames_keeps_its_average_when_frames_come_a_little_late() -> None:
    cloud = CloudBound()
    cloud.set(60, "")
    taken = 0
    for number in range(100):
        now_s = number * 0.3
        if cloud.takes_frame(now_s):
            cloud.sent(now_s)
            taken += 1
    assert taken == 30


def test_edges_that_hear_of_a_bound_at_once_send_one_after_the_other() -> None:
    clouds = [CloudBound() for _ in range(10)]
    for frames in (12, 6, 20, 12):  # whatever bounds came between
        for number, cloud in enumerate(clouds):
            cloud.set(frames, "", phase=number / 10)
            cloud.takes_frame(0.0)
    sent_s: list[float] = []
    for now_s in (tick / 10 for tick in range(1, 300)):
        for cloud in clouds:
            if cloud.takes_frame(now_s):
                cloud.sent(now_s)
                sent_s.append(now_s)
    for second in range(5, 25, 5):  # 12 a minute: each once in 5 s, and two in a second
        assert 9 <= sum(second <= at_s < second + 5 for at_s in sent_s) <= 11
    assert max(sum(at <= at_s < at + 1 for at_s in sent_s) for at in range(29)) <= 3


@given(told=st.lists(deliveries, min_size=1, max_size=30), backlog=st.integers(0, 20_000))
def test_robust_is_down_at_once_and_at_most_one_step_up(told: list[Delivery], backlog: int) -> None:
    robust = Robust(2.0)
    every = tuple(range(len(POINTS)))
    ladder = Ladder(MANIFEST, 100)
    careful = ladder.step_up(0, every)
    last = robust.choose(moment(0.0, 0, every)).number
    for at, delivery in enumerate(told):
        robust.delivered(delivery)
        choice = robust.choose(moment(at * 0.5, backlog * (at % 2), every))
        if choice.room_bytes is not None:
            fits = ladder.best_within(choice.room_bytes, every) or 0
            assert choice.number <= max(fits, careful)
        assert choice.number <= max(ladder.step_up(last, every), careful)
        last = choice.number


@given(told=st.lists(deliveries, max_size=30), data=st.data())
def test_the_state_machine_goes_up_by_one_step_at_most(
    told: list[Delivery], data: st.DataObject
) -> None:
    policy: Policy = Awstream()
    every = tuple(range(len(POINTS)))
    last = policy.choose(moment(0.0, 0, every)).number
    for at, delivery in enumerate(told, 1):
        policy.delivered(delivery)
        backlog = data.draw(st.sampled_from([0, 0, 0, 5000]))
        number = policy.choose(moment(at * 0.5, backlog, every)).number
        assert number <= Ladder(MANIFEST, 100).step_up(last, every)
        last = number
