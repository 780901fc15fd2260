"""The rules by which budgets rise and fall, step by step, with numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from saccade_edge.budget.awstream import Awstream, Phase
from saccade_edge.budget.base import Choice, Delivery, Moment
from saccade_edge.budget.caps import DAY_S, DailyCap
from saccade_edge.budget.cloud_bound import CloudBound
from saccade_edge.budget.ewma import Ewma
from saccade_edge.budget.fixed import Fixed, at_most
from saccade_edge.budget.frame_interval import FrameInterval
from saccade_edge.budget.ladder import Ladder
from saccade_edge.budget.robust import Robust
from saccade_edge.budget.robust_rate import RobustRate
from saccade_edge.budget.trips import LeastOf, Trips
from saccade_edge.budget.unacknowledged import Sent, Unacknowledged
from saccade_testing.budget_contract import MANIFEST, POINTS

SIZES = (100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0)  # no headers: the wire costs what is stated
EVERY = tuple(range(len(SIZES)))
BEST = EVERY[-1]
FAST = 8192.0  # bytes a second: every point fits into a second, and no sum is rounded


def ladder(sizes: tuple[float, ...] = SIZES, overhead_bytes: int = 0) -> Ladder:
    points = tuple(replace(POINTS[0], bytes=size) for size in sizes)
    selection = replace(MANIFEST.selection, point=0)
    return Ladder(replace(MANIFEST, points=points, selection=selection), overhead_bytes)


def moment(
    backlog: int = 0,
    allowed: tuple[int, ...] = EVERY,
    now_s: float = 100.0,
    interval_s: float = 1.0,
) -> Moment:
    """``backlog``: bytes of one packet that is overdue."""
    unacknowledged = Unacknowledged()
    if backlog:
        unacknowledged.add(Sent(1, backlog, backlog, now_s - 0.5, None))
    return Moment(now_s, interval_s, 2.0, 0.0, unacknowledged, ladder(), allowed)


def delivery(
    rate: float = FAST, service_s: float | None = 0.5, round_trip_s: float = 0.1
) -> Delivery:
    wire_bytes = round(rate * (service_s or 1.0))
    return Delivery(wire_bytes, 0.0, round_trip_s, 0.01, service_s)


def number_after(policy: Robust, *told: Delivery) -> int:
    """The last choice, with one frame after each delivery."""
    number = policy.choose(moment()).number
    for each in told:
        policy.delivered(each)
        number = policy.choose(moment()).number
    return number


class TestRobust:
    def test_it_begins_one_step_above_the_smallest_and_says_so(self) -> None:
        assert Robust(2.0).choose(moment()) == Choice(1, "start", 0.0, None)
        assert Robust(2.0).choose(moment(backlog=700)) == Choice(1, "start", 700, None)
        assert Robust(2.0).choose(moment(allowed=(0,))).number == 0

    def test_it_begins_at_the_users_point_or_the_best_allowed_below_it(self) -> None:
        assert Robust(2.0, start=3).choose(moment()).number == 3
        assert Robust(2.0, start=3).choose(moment(allowed=(0, 2, 4))).number == 2
        assert Robust(2.0, start=0).choose(moment()).number == 0

    def test_it_rises_one_step_with_each_clean_delivery_until_the_link_has_failed(self) -> None:
        policy = Robust(2.0)
        numbers = [number_after(policy)]
        for _ in range(5):
            policy.delivered(delivery())
            numbers.append(policy.choose(moment()).number)
        assert numbers == [1, 2, 3, 4, 5, 5]

    def test_it_does_not_rise_without_a_delivery(self) -> None:
        policy = Robust(2.0)
        assert number_after(policy, delivery()) == 2
        assert [policy.choose(moment()).number for _ in range(3)] == [2, 2, 2]

    def test_its_reason_is_probe_below_what_fits_and_best_at_the_top(self) -> None:
        policy = Robust(2.0)
        policy.choose(moment())
        policy.delivered(delivery())
        assert policy.choose(moment()) == Choice(2, "probe", 0.0, FAST)
        policy.delivered(delivery())
        policy.choose(moment())
        assert policy.choose(moment(allowed=(0, 1))) == Choice(1, "best", 0.0, FAST)

    def test_a_delivery_as_slow_as_the_frames_come_still_keeps_up(self) -> None:
        policy = Robust(2.0)
        assert number_after(policy, delivery(service_s=1.0)) == 2
        assert number_after(policy, delivery(service_s=1.001)) == 2

    def test_a_rate_that_drove_it_down_must_be_shown_by_three_clean_deliveries(self) -> None:
        policy = self._failed()
        assert [number_after(policy)] == [1]
        numbers = []
        for _ in range(7):
            policy.delivered(delivery())
            numbers.append(policy.choose(moment()).number)
        assert numbers == [1, 1, 2, 2, 2, 3, 3]

    def test_a_slow_delivery_starts_the_count_of_three_again(self) -> None:
        policy = self._failed()
        assert number_after(policy, delivery(), delivery(), delivery(service_s=1.5)) == 1
        assert number_after(policy, delivery(), delivery()) == 1
        assert number_after(policy, delivery()) == 2

    def test_a_delivery_of_unknown_service_neither_counts_nor_resets(self) -> None:
        policy = self._failed()
        unknown = delivery(service_s=None)
        assert number_after(policy, delivery(), unknown, delivery(), unknown) == 1
        assert number_after(policy, delivery()) == 2

    def test_an_interruption_starts_the_count_of_three_again(self) -> None:
        policy = self._failed()
        number_after(policy, delivery(), delivery())
        policy.interrupted()
        assert number_after(policy, delivery(), delivery()) == 1
        assert number_after(policy, delivery()) == 2

    def test_one_clean_delivery_is_enough_up_to_where_the_link_was_shown_to_carry(self) -> None:
        policy = self._failed()
        number_after(policy, *[delivery()] * 6)  # up to 3
        policy.interrupted()
        assert number_after(policy) == 1
        assert number_after(policy, delivery()) == 2
        assert number_after(policy, delivery()) == 3
        assert number_after(policy, delivery(), delivery()) == 3  # beyond it three are needed
        assert number_after(policy, delivery()) == 4

    def test_a_backlog_drives_it_down_to_what_fits_and_back_up_step_by_step(self) -> None:
        policy = Robust(2.0)
        assert number_after(policy, *[delivery()] * 4) == BEST
        assert policy.choose(moment(backlog=7_692)) == Choice(3, "link", 7_692, 500.0)
        assert policy.choose(moment(backlog=7_693)) == Choice(2, "link", 7_693, 499.0)
        policy.delivered(delivery())
        assert policy.choose(moment()).number == 3  # the rate has not failed: one is enough
        policy.delivered(delivery())
        assert policy.choose(moment()).number == 4

    def test_a_backlog_alone_never_leads_below_the_careful_point(self) -> None:
        policy = Robust(2.0)
        number_after(policy, *[delivery()] * 4)
        assert policy.choose(moment(backlog=8_092)) == Choice(1, "link", 8_092, 100.0)
        assert policy.choose(moment(backlog=18_192)) == Choice(1, "link", 18_192, -10_000.0)

    @pytest.mark.parametrize(("rate", "number"), [(99.0, 0), (100.0, 0), (199.0, 0), (200.0, 1)])
    def test_a_slow_rate_leads_to_what_it_sustains(self, rate: float, number: int) -> None:
        policy = Robust(2.0, start=4)
        policy.choose(moment())
        policy.delivered(Delivery(round(rate * 10), 0.0, 0.1, 0.01, 10.0))
        assert policy.rate == pytest.approx(rate)
        choice = policy.choose(moment())
        assert (choice.number, choice.bound) == (number, "link")
        assert choice.room_bytes == pytest.approx(rate)

    def test_an_interval_twice_as_long_has_room_for_twice_the_bytes(self) -> None:
        policy = Robust(2.0, start=BEST)
        policy.choose(moment())
        policy.delivered(delivery(rate=500.0, service_s=2.0))
        assert policy.choose(moment(interval_s=1.0)).number == 3
        policy = Robust(2.0, start=BEST)
        policy.choose(moment())
        policy.delivered(delivery(rate=500.0, service_s=2.0))
        assert policy.choose(moment(interval_s=2.0)) == Choice(4, "link", 0.0, 1000.0)

    def test_a_delivery_later_than_the_deadline_is_an_interruption_and_no_rate(self) -> None:
        policy = Robust(2.0)
        number_after(policy, *[delivery()] * 4)
        policy.delivered(delivery(round_trip_s=2.0))
        assert policy.rate == pytest.approx(FAST)
        assert policy.choose(moment()).number == BEST
        policy.delivered(delivery(round_trip_s=2.001))
        assert policy.rate is None
        assert policy.choose(moment()) == Choice(1, "start", 0.0, None)

    def test_after_an_interruption_it_begins_anew_even_when_a_rate_comes_first(self) -> None:
        policy = Robust(2.0)
        number_after(policy, *[delivery()] * 4)
        policy.interrupted()
        policy.delivered(delivery())
        assert policy.choose(moment()).bound == "start"

    @staticmethod
    def _failed() -> Robust:
        """One that a slow rate has driven down to the smallest, and that knows no rate now."""
        policy = Robust(2.0)
        number_after(policy, *[delivery()] * 4)
        policy.delivered(delivery(rate=50.0, service_s=2.0))
        assert policy.choose(moment()).number == 0
        policy.interrupted()
        return policy


class TestEwma:
    def test_a_sample_is_bytes_over_the_round_trip_and_weighs_half(self) -> None:
        policy = Ewma()
        policy.delivered(Delivery(1000, 0.0, 0.5, 0.0, None))
        assert policy.rate == 2000
        policy.delivered(Delivery(1000, 0.0, 1.0, 0.0, None))
        assert policy.rate == 1500
        policy.interrupted()
        assert policy.rate == 1500

    def test_a_round_trip_of_nothing_counts_as_a_millisecond(self) -> None:
        policy = Ewma()
        policy.delivered(Delivery(10, 0.0, 0.0, 0.0, None))
        assert policy.rate == 10_000

    def test_four_fifths_of_the_rate_are_spent_and_the_smallest_goes_in_any_case(self) -> None:
        policy = Ewma()
        assert policy.choose(moment(allowed=(2, 3))) == Choice(2, "start", 0.0, None)
        policy.delivered(Delivery(625, 0.0, 1.0, 0.0, None))
        assert policy.choose(moment(backlog=77)) == Choice(3, "link", 77, 500.0)
        assert policy.choose(moment(interval_s=0.1)) == Choice(0, "link", 0, 50.0)


class TestFixed:
    def test_it_is_its_point_or_the_best_allowed_below_else_the_smallest(self) -> None:
        assert Fixed(3).choose(moment(backlog=5)) == Choice(3, "fixed", 5, None)
        assert [at_most(3, allowed) for allowed in ((0, 1, 2), (3, 4), (4, 5))] == [2, 3, 4]


class TestAwstream:
    def test_startup_ends_with_the_fourth_congested_look(self) -> None:
        policy = Awstream()
        assert [policy.choose(moment(now_s=n)).number for n in (0.0, 0.1, 0.2)] == [0, 1, 2]
        numbers, phases = [], []
        for n in range(4):
            numbers.append(policy.choose(moment(backlog=500, now_s=1.0 + n)).number)
            phases.append(policy.phase)
        assert phases == [Phase.STARTUP] * 3 + [Phase.DEGRADE]
        assert numbers == [2, 2, 2, 0]  # nothing was delivered: the rate is 0

    def test_a_clear_look_in_startup_starts_the_count_of_congestions_again(self) -> None:
        policy = Awstream()
        policy.choose(moment(now_s=0.0))
        for n in range(1, 4):
            policy.choose(moment(backlog=500, now_s=float(n)))
        policy.choose(moment(now_s=4.0))
        policy.choose(moment(backlog=500, now_s=5.0))
        assert policy.phase is Phase.STARTUP

    def test_it_degrades_to_nine_tenths_of_the_measured_rate(self) -> None:
        policy = self._degraded(rate=600.0)
        assert policy.rate == pytest.approx(600.0)
        assert policy.choose(moment(backlog=500, now_s=200.0)).bound == "link"

    def test_from_degraded_to_a_probe_it_takes_two_seconds_five_times(self) -> None:
        policy = self._degraded(rate=600.0)
        steady, probing, number = None, None, 0
        first = policy.choose(moment(now_s=300.0)).number
        for tick in range(1, 200):
            number = policy.choose(moment(now_s=300.0 + tick / 10)).number
            if policy.phase is Phase.STEADY and steady is None:
                steady = tick / 10
            if policy.phase is Phase.PROBE:
                probing = tick / 10
                break
        assert steady == pytest.approx(2.0, abs=0.11)
        assert probing == pytest.approx(10.0, abs=0.21)
        assert number == first + 1

    def test_a_probe_without_congestion_becomes_steady_at_its_new_point(self) -> None:
        policy = self._degraded(rate=600.0)
        number, later = 0, 300.0
        while policy.phase.value != "probe":
            later += 0.1
            number = policy.choose(moment(now_s=later)).number
        assert policy.choose(moment(now_s=later + 1.9)).number == number
        assert policy.choose(moment(now_s=later + 2.1)).number == number
        assert policy.phase.value == "steady"

    def test_a_queue_of_a_millisecond_is_not_congested(self) -> None:
        policy = Awstream()
        policy.choose(moment(now_s=0.0))
        policy.delivered(delivery(rate=10_000.0, service_s=1.0))
        policy.choose(moment(now_s=1.0))
        assert policy.rate == 10_000.0
        # 10 bytes are a millisecond of 10 kB/s; with them the rate that was measured falls by half.
        policy.delivered(delivery(rate=10_000.0, service_s=1.0))
        assert policy.choose(moment(backlog=10, now_s=2.0)).number == 2
        policy.delivered(delivery(rate=10_000.0, service_s=1.0))
        assert policy.choose(moment(backlog=11, now_s=3.0)).number == 2

    def test_without_a_queue_a_lower_rate_is_not_believed(self) -> None:
        policy = Awstream()
        policy.choose(moment(now_s=0.0))
        for n, rate in enumerate((1000.0, 400.0, 2000.0), 1):
            policy.delivered(delivery(rate=rate, service_s=1.0))
            policy.choose(moment(now_s=float(n)))
        assert policy.rate == 1500  # half of the way from 1000 to 2000

    @staticmethod
    def _degraded(rate: float) -> Awstream:
        policy = Awstream()
        policy.choose(moment(now_s=0.0))
        for n in range(1, 61):
            policy.delivered(delivery(rate=rate, service_s=1.0))
            policy.choose(moment(backlog=500 if n > 20 else 0, now_s=float(n)))
        assert policy.phase is Phase.DEGRADE
        assert policy.choose(moment(backlog=500, now_s=60.0)).number == 3  # 500 of 540 bytes
        return policy


class TestTrips:
    def test_the_first_trip_has_no_service_and_the_least_is_the_shortest(self) -> None:
        trips = Trips()
        assert trips.least_round_trip_s == 0.0
        first = trips.measure(10.0, 0, 10.3)
        assert first.round_trip_s == pytest.approx(0.3)
        assert first.service_s is None
        assert trips.measure(20.0, 0, 20.1).least_round_trip_s == pytest.approx(0.1)
        assert trips.measure(30.0, 0, 30.9).least_round_trip_s == pytest.approx(0.1)

    def test_an_acknowledgement_before_its_packet_took_no_time(self) -> None:
        assert Trips().measure(10.0, 0, 9.0).round_trip_s == 0.0

    def test_after_clear_nothing_is_compared_with_what_was_before(self) -> None:
        trips = Trips()
        trips.measure(0.0, 1_000_000, 0.1)
        trips.measure(1.0, 1_001_000, 1.1)
        trips.clear()
        assert trips.least_round_trip_s == 0.0
        assert trips.measure(2.0, 1_002_000, 2.5).service_s is None

    @pytest.mark.parametrize(("waited_ms", "service_s"), [(349, 0.349), (351, 0.2)])
    def test_the_clouds_clock_may_exceed_the_round_trip_by_fifty_milliseconds(
        self, waited_ms: int, service_s: float
    ) -> None:
        trips = Trips()
        trips.measure(0.0, 1_000_000, 0.1)  # the way seems to take 1000 s
        trips.measure(1.0, 1_001_000, 1.1)
        late = trips.measure(2.0, 1_002_000 + waited_ms, 2.3)
        assert late.service_s == pytest.approx(service_s)  # else by the edge's own times

    @pytest.mark.parametrize(("early_ms", "believed"), [(49, True), (51, False)])
    def test_a_way_that_seems_shorter_by_more_than_fifty_milliseconds_is_a_jump(
        self, early_ms: int, believed: bool
    ) -> None:
        trips = Trips()
        trips.measure(0.0, 1_000_000, 0.1)
        trips.measure(1.0, 1_001_000, 1.1)
        trips.measure(2.0, 1_002_000 - early_ms, 2.1)
        # What follows waited 100 ms by the edge; by the cloud as long, and as much as it was early.
        after = trips.measure(3.0, 1_003_000, 3.2).service_s
        assert after == pytest.approx(early_ms / 1e3 if believed else 0.051)

    def test_a_cloud_without_a_clock_is_measured_by_the_edges(self) -> None:
        trips = Trips()
        trips.measure(0.0, 1_000_000, 0.1)
        trips.measure(1.0, 1_001_000, 1.1)
        assert trips.measure(2.0, 0, 2.4).service_s == pytest.approx(0.3)
        assert trips.measure(3.0, 1_003_000, 3.2).service_s == pytest.approx(0.1)

    def test_the_least_of_a_window_lasts_one_to_two_halves(self) -> None:
        least = LeastOf(window_s=10.0)
        assert least.value is None
        least.add(1.0, 100.0)
        least.add(2.0, 105.0)  # still the first half
        least.add(3.0, 105.1)  # the second
        assert least.value == 1.0
        least.add(4.0, 110.1)
        assert least.value == 1.0
        least.add(5.0, 110.2)  # the third: the first is forgotten
        assert least.value == 3.0
        least.add(9.0, 50.0)  # time went back: another half
        assert least.value == 5.0
        least.clear()
        assert least.value is None


class TestParts:
    def test_a_step_up_is_as_far_as_half_as_much_again(self) -> None:
        steps = ladder((100.0, 150.0, 151.0, 300.0))
        assert steps.step_up(0, (0, 1, 2, 3)) == 1
        assert steps.step_up(1, (0, 1, 2, 3)) == 2
        assert steps.step_up(2, (0, 1, 2, 3)) == 3
        assert ladder((100.0, 150.0), overhead_bytes=100).step_up(0, (0, 1)) == 1
        assert steps.step_up(3, (0, 1)) == 3

    def test_what_just_fits_fits(self) -> None:
        steps = ladder(overhead_bytes=10)
        assert steps.best_within(310.0, EVERY) == 2
        assert steps.best_within(309.9, EVERY) == 1
        assert steps.best_within(310.0, (0, 1)) == 1
        assert steps.on_wire(300) == 310

    def test_the_ratio_rises_by_a_quarter_and_falls_by_a_twentieth_of_the_difference(self) -> None:
        steps = ladder(overhead_bytes=10)
        steps.learn(4, 3000)
        assert steps.ratio == pytest.approx(1.5)
        assert steps.wire_bytes(0) == pytest.approx(160)
        steps.learn(4, 500)
        assert steps.ratio == pytest.approx(1.45)
        steps.learn(4, 100_000)
        assert steps.ratio == 4.0

    def test_the_rate_has_no_error_before_its_second_sample(self) -> None:
        rate = RobustRate()
        assert rate.predicted is None
        rate.add(300.0)
        assert rate.predicted == 300.0
        rate.add(100.0)  # the mean was off by twice the sample
        assert rate.mean == pytest.approx(150.0)
        assert rate.predicted == pytest.approx(50.0)

    def test_a_pace_moves_a_fifth_of_the_way_to_each_gap(self) -> None:
        pace = FrameInterval(0.5)
        pace.tick(10.0)
        assert pace.interval_s == 0.5
        pace.tick(10.25)
        assert pace.interval_s == pytest.approx(0.45)
        pace.tick(99.0)  # a pause counts as a second
        assert pace.interval_s == pytest.approx(0.56)
        pace.tick(98.0)  # back counts as no time
        assert pace.interval_s == pytest.approx(0.448)
        assert (FrameInterval(5.0).interval_s, FrameInterval(0.001).interval_s) == (1.0, 0.01)

    def test_frames_that_come_together_count_as_a_hundredth_of_a_second(self) -> None:
        pace = FrameInterval(0.02)
        for _ in range(50):
            pace.tick(1.0)
        assert pace.interval_s == 0.01

    def test_a_flight_is_ordered_by_sending_and_settles_by_sequence(self) -> None:
        unacknowledged = Unacknowledged()
        for sequence, sent_s in ((5, 1.0), (3, 2.0), (9, 3.0)):
            unacknowledged.add(Sent(sequence, 90, 100, sent_s, None))
        oldest, newest = unacknowledged.oldest(), unacknowledged.newest()
        assert (oldest and oldest.sequence, newest and newest.sequence) == (5, 9)
        assert (unacknowledged.bytes_before(1.99), unacknowledged.bytes_before(2.0)) == (100, 200)
        unacknowledged.forget_before(2.0)
        assert (len(unacknowledged), unacknowledged.wire_bytes) == (2, 200)
        assert unacknowledged.take(5) is None
        taken = unacknowledged.take(3)
        assert taken == Sent(3, 90, 100, 2.0, None)
        assert unacknowledged.wire_bytes == 100

    def test_a_backlog_is_what_is_overdue_and_what_of_the_rest_a_round_trip_cannot_carry(
        self,
    ) -> None:
        unacknowledged = Unacknowledged()
        unacknowledged.add(Sent(1, 0, 1000, 8.0, None))
        unacknowledged.add(Sent(2, 0, 500, 9.5, None))
        it = Moment(10.0, 1.0, 2.0, 1.0, unacknowledged, ladder(), (0,))
        assert (it.overdue_bytes(), it.overdue_bytes(1.0), it.overdue_bytes(1.01)) == (
            1000,
            1000,
            0,
        )
        assert it.backlog_bytes(200.0) == 1300
        assert it.backlog_bytes(500.0) == it.backlog_bytes(600.0) == 1000


class TestCaps:
    def test_the_last_fifth_of_a_cap_is_shared_out_over_the_rest_of_the_day(self) -> None:
        cap = DailyCap(1000)
        cap.at(DAY_S - 10.0)
        cap.spend(799)
        assert cap.share_bytes(1.0) == math.inf
        cap.spend(1)
        assert cap.share_bytes(1.0) == pytest.approx(20.0)
        assert cap.share_bytes(5.0) == pytest.approx(100.0)
        assert cap.share_bytes(50.0) == pytest.approx(200.0)  # never more than is left

    def test_a_cap_is_reached_by_its_last_byte(self) -> None:
        cap = DailyCap(1000)
        cap.spend(999)
        assert (cap.left_bytes, cap.reached) == (1, False)
        cap.spend(1)
        assert (cap.left_bytes, cap.reached) == (0, True)
        cap.spend(500)
        assert cap.left_bytes == 0

    def test_without_a_cap_bytes_are_counted_all_the_same(self) -> None:
        cap = DailyCap(None)
        cap.at(5.5 * DAY_S)
        cap.spend(7)
        cap.spend(5)
        assert (cap.day, cap.used_bytes, cap.left_bytes) == (5, 12, math.inf)
        assert cap.share_bytes(0.1) == math.inf
        assert not cap.reached

    @pytest.mark.parametrize("unix_s", [-1.0, 1e12, math.inf, math.nan])
    def test_a_time_that_cannot_be_counts_as_the_last(self, unix_s: float) -> None:
        cap = DailyCap(10)
        cap.at(3 * DAY_S)
        cap.at(unix_s)
        assert cap.day == 3

    def test_a_day_begins_at_midnight_utc(self) -> None:
        cap = DailyCap(10)
        cap.at(3 * DAY_S - 0.001)
        assert cap.day == 2
        cap.at(3 * DAY_S)
        assert cap.day == 3

    def test_what_was_counted_elsewhere_is_added_to_its_day(self) -> None:
        cap = DailyCap(100)
        cap.at(3 * DAY_S)
        cap.spend(10)
        cap.restore(3, 20)
        cap.restore(2, 50)
        assert cap.used_bytes == 30
        cap.at(2 * DAY_S)
        assert cap.used_bytes == 50


class TestCloudBound:
    def test_nothing_binds_by_itself(self) -> None:
        cloud = CloudBound()
        assert (cloud.frames_per_minute, cloud.reason) == (None, "")
        cloud.sent(0.0)
        assert cloud.takes_frame(0.0)
        cloud.set(0, "")
        assert cloud.frames_per_minute is None

    def test_a_bound_of_one_binds(self) -> None:
        cloud = CloudBound()
        cloud.set(1, "")
        assert cloud.frames_per_minute == 1

    def test_the_clouds_words_are_one_line_of_eighty_letters(self) -> None:
        cloud = CloudBound()
        cloud.set(1, "busy \n with\tmany " + "x" * 100)
        assert cloud.reason == ("busy with many " + "x" * 100)[:80]

    def test_the_first_frame_waits_its_part_of_the_interval_the_next_a_whole_one(self) -> None:
        cloud = CloudBound()
        cloud.set(6, "", phase=0.5)  # every 10 s
        assert not cloud.takes_frame(100.0)
        assert not cloud.takes_frame(104.9)
        assert cloud.takes_frame(105.0)
        cloud.sent(106.0)  # a second late
        assert not cloud.takes_frame(114.9)
        assert cloud.takes_frame(115.0)

    def test_a_frame_that_is_an_interval_late_gives_no_right_to_two(self) -> None:
        cloud = CloudBound()
        cloud.set(6, "")
        assert cloud.takes_frame(100.0)
        cloud.sent(100.0)
        cloud.sent(135.0)
        assert not cloud.takes_frame(134.9)
        assert cloud.takes_frame(135.0)
        cloud.sent(135.0)
        assert not cloud.takes_frame(144.9)

    def test_what_is_left_to_wait_shrinks_and_grows_with_the_interval(self) -> None:
        cloud = CloudBound()
        cloud.set(6, "")
        cloud.takes_frame(100.0)
        cloud.sent(100.0)  # next at 110
        cloud.set(12, "", phase=0.9)  # half the interval; the phase is of a first bound alone
        assert not cloud.takes_frame(104.0)  # 6 s were left: 3 now
        assert not cloud.takes_frame(106.9)
        assert cloud.takes_frame(107.0)
        cloud.set(3, "")
        cloud.set(6, "")  # twice before a frame: 4 and then a half
        assert not cloud.takes_frame(106.0)
        assert cloud.takes_frame(108.0)

    def test_a_new_clock_keeps_the_bound(self) -> None:
        cloud = CloudBound()
        cloud.set(6, "", phase=0.5)
        cloud.takes_frame(100.0)
        cloud.restart()
        assert cloud.frames_per_minute == 6
        assert not cloud.takes_frame(3.0)
        assert cloud.takes_frame(8.0)
