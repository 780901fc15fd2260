"""What a controller decides and says, and what it leaves to the spool, at times that tests set."""

from __future__ import annotations

import math

import pytest

from saccade.errors import ConfigError
from saccade_edge.budget import BudgetSettings, Controller, reasons
from saccade_edge.budget.base import Choice, Delivery, Moment
from saccade_edge.budget.controller import OVERTAKING_S
from saccade_testing.budget_contract import MANIFEST, MIDNIGHT_UNIX_S, POINTS

NOW_S = 100.0
UNIX_S = MIDNIGHT_UNIX_S + 43_200.0


class Scripted:
    """A policy that takes the point it is told, and remembers what it hears."""

    name = "scripted"
    gated = True

    def __init__(self, number: int = 0, rate: float | None = None) -> None:
        self.number = number
        self.rate = rate
        self.delivered_: list[Delivery] = []
        self.interruptions = 0
        self.moments: list[Moment] = []

    def delivered(self, delivery: Delivery) -> None:
        self.delivered_.append(delivery)

    def interrupted(self) -> None:
        self.interruptions += 1

    def choose(self, moment: Moment) -> Choice:
        self.moments.append(moment)
        return Choice(max(n for n in moment.allowed if n <= self.number), "link", 1.0, 2.0)


def controller(policy: Scripted | None = None, **settings: object) -> Controller:
    return Controller(MANIFEST, BudgetSettings(**settings), policy)  # type: ignore[arg-type]


def sent(it: Controller, sequence: int, now_s: float, size: int = 1000, **how: object) -> None:
    known = {"camera": "a", "number": 0, "unix_s": UNIX_S, **how}
    it.sent(sequence, size, now_s, **known)  # type: ignore[arg-type]


class TestGate:
    @pytest.mark.parametrize(("age_s", "live"), [(2.0, True), (2.001, False)])
    def test_it_shuts_when_the_oldest_is_older_than_the_deadline(
        self, age_s: float, live: bool
    ) -> None:
        it = controller(deadline_s=2.0)
        sent(it, 1, NOW_S)
        sent(it, 2, NOW_S + 1.0)
        decision = it.decide(NOW_S + age_s, UNIX_S, "a")
        assert decision.live is live
        assert decision.oldest_s == pytest.approx(age_s)
        assert decision.held is not live

    def test_a_policy_that_is_not_gated_has_no_gate(self) -> None:
        policy = Scripted()
        policy.gated = False
        it = controller(policy)
        sent(it, 1, NOW_S)
        assert it.decide(NOW_S + 60.0, UNIX_S, "a").live

    @pytest.mark.parametrize(("silent_s", "bound"), [(9.999, "age"), (10.0, "probe")])
    def test_a_probe_goes_out_so_long_after_the_newest(self, silent_s: float, bound: str) -> None:
        it = controller(probe_every_s=10.0)
        sent(it, 1, NOW_S - 5.0)
        sent(it, 2, NOW_S)
        decision = it.decide(NOW_S + silent_s, UNIX_S, "a")
        assert (decision.bound, decision.live) == (bound, bound == "probe")

    def test_the_policy_hears_of_an_interruption_while_the_gate_is_shut(self) -> None:
        policy = Scripted()
        it = controller(policy)
        sent(it, 1, NOW_S)
        it.decide(NOW_S + 1.0, UNIX_S, "a")
        before = policy.interruptions
        it.decide(NOW_S + 3.0, UNIX_S, "a")
        assert policy.interruptions == before + 1

    def test_an_acknowledgement_tells_that_older_packets_were_lost(self) -> None:
        """They may overtake each other by a second."""
        it = controller()
        sent(it, 1, NOW_S)
        sent(it, 2, NOW_S + OVERTAKING_S)
        it.acknowledged(2, 0, NOW_S + 1.5)
        assert it.decide(NOW_S + 1.6, UNIX_S, "a").oldest_s == pytest.approx(1.6)
        sent(it, 3, NOW_S + OVERTAKING_S + 0.01)
        it.acknowledged(3, 0, NOW_S + 1.7)
        assert it.decide(NOW_S + 1.8, UNIX_S, "a").oldest_s == 0.0

    def test_a_refused_packet_is_no_longer_under_way_and_tells_the_policy_nothing(self) -> None:
        policy = Scripted()
        it = controller(policy)
        sent(it, 1, NOW_S)
        it.refused(1)
        assert it.decide(NOW_S + 9.0, UNIX_S, "a").oldest_s == 0.0
        it.acknowledged(1, 0, NOW_S + 9.0)
        assert policy.delivered_ == []


class TestDeliveries:
    def test_the_policy_hears_bytes_with_headers_and_the_round_trip(self) -> None:
        policy = Scripted()
        it = controller(policy, overhead_bytes=77)
        sent(it, 1, NOW_S, size=1000)
        it.acknowledged(1, 0, NOW_S + 0.5)
        sent(it, 2, NOW_S + 1.0, size=500)
        it.acknowledged(2, 0, NOW_S + 1.25)
        first, second = policy.delivered_
        assert (first.wire_bytes, first.acked_s, first.round_trip_s) == (1077, NOW_S + 0.5, 0.5)
        assert first.service_s is None
        assert (second.wire_bytes, second.round_trip_s) == (577, 0.25)
        assert second.least_round_trip_s == 0.25

    def test_what_was_sent_at_a_point_corrects_what_points_cost_and_spooled_ones_do_not(
        self,
    ) -> None:
        for number, ratio in ((5, 1.25), (None, 1.0)):
            policy = Scripted()
            it = controller(policy, overhead_bytes=0)
            sent(it, 1, NOW_S, size=round(POINTS[5].bytes * 2), number=number)
            it.acknowledged(1, 0, NOW_S + 0.1)
            cost = it.decide(NOW_S + 0.2, UNIX_S, "a").wire_bytes
            assert cost == pytest.approx(POINTS[0].bytes * ratio, rel=0.01)

    def test_a_lost_connection_forgets_what_is_under_way_and_what_was_measured(self) -> None:
        policy = Scripted()
        it = controller(policy)
        sent(it, 1, NOW_S)
        it.lost_connection(NOW_S + 1.0)
        assert policy.interruptions == 1
        decision = it.decide(NOW_S + 60.0, UNIX_S, "a")
        assert (decision.bound, decision.oldest_s, decision.held) == ("connection", 0.0, True)
        it.connected(NOW_S + 61.0)
        assert it.decide(NOW_S + 61.0, UNIX_S, "a").live


class TestMoments:
    def test_the_policy_is_asked_with_the_moments_numbers(self) -> None:
        policy = Scripted(number=3)
        it = controller(policy, interval_s=0.4, deadline_s=1.5)
        sent(it, 1, NOW_S)
        decision = it.decide(NOW_S + 0.1, UNIX_S, "a")
        (moment,) = policy.moments
        assert (moment.now_s, moment.interval_s, moment.deadline_s) == (NOW_S + 0.1, 0.4, 1.5)
        assert moment.allowed == tuple(range(len(POINTS)))
        assert moment.unacknowledged.wire_bytes == 1100
        assert (decision.number, decision.point, decision.policy) == (3, POINTS[3], "scripted")
        assert (decision.backlog_bytes, decision.room_bytes) == (1.0, 2.0)

    def test_the_interval_is_of_all_cameras_together(self) -> None:
        policy = Scripted()
        it = controller(policy, interval_s=0.5)
        for n, camera in enumerate(("a", "b", "a")):
            it.decide(NOW_S + 0.1 * n, UNIX_S, camera)
        assert policy.moments[-1].interval_s == pytest.approx(0.5 - 0.08 - 0.064)

    def test_a_clock_that_is_no_number_counts_as_the_last_time(self) -> None:
        it = controller()
        sent(it, 1, NOW_S)
        for now_s in (math.nan, math.inf, -math.inf, 1e12, -1e12):
            assert it.decide(now_s, UNIX_S, "a").oldest_s == 0.0
        assert it.decide(NOW_S + 1.0, UNIX_S, "a").oldest_s == pytest.approx(1.0)

    @pytest.mark.parametrize(("back_s", "kept"), [(1.0, True), (1.001, False)])
    def test_a_clock_a_second_back_is_another_threads_and_further_back_another_clock(
        self, back_s: float, kept: bool
    ) -> None:
        it = controller()
        sent(it, 1, NOW_S)
        it.decide(NOW_S + 1.5, UNIX_S, "a")
        decision = it.decide(NOW_S + 1.5 - back_s, UNIX_S, "a")
        assert decision.oldest_s == pytest.approx(1.5 if kept else 0.0)


class TestCaps:
    def test_all_that_is_sent_counts_with_headers_by_camera_and_day(self) -> None:
        it = controller(overhead_bytes=50)
        sent(it, 1, NOW_S, size=100)
        sent(it, 2, NOW_S, size=200, number=None)
        sent(it, 3, NOW_S, size=400, camera="b")
        day = int(UNIX_S // 86_400)
        assert it.spent(UNIX_S, "a") == (day, 400)
        assert it.spent(UNIX_S, "b") == (day, 450)
        assert it.spent(UNIX_S + 86_400, "a") == (day + 1, 0)

    def test_near_the_cap_a_frame_has_its_share_of_the_rest_of_the_day(self) -> None:
        policy = Scripted(number=len(POINTS))
        it = controller(policy, bytes_per_day=100_000, interval_s=0.5, overhead_bytes=0)
        sent(it, 1, NOW_S, size=79_999)
        assert it.decide(NOW_S, UNIX_S, "a").number == len(POINTS) - 1
        sent(it, 2, NOW_S, size=1)
        decision = it.decide(NOW_S, UNIX_S, "a")
        assert (decision.number, decision.bound, decision.live) == (0, "cap", True)
        assert decision.reason == "point 0: 20000 bytes of the day's cap are left for this camera"

    def test_a_reached_cap_keeps_frames_back_and_the_spool_too(self) -> None:
        it = controller(bytes_per_day=1000, overhead_bytes=0)
        sent(it, 1, NOW_S, size=1000)
        decision = it.decide(NOW_S, UNIX_S, "a")
        assert (decision.live, decision.bound, decision.held) == (False, "cap", False)
        assert it.spare_bytes(NOW_S + 10.0, UNIX_S, "a") == 0.0


class TestSpoolsShare:
    """Of a policy that expects 10,000 bytes a second, with a frame every half second."""

    def share(self, rate: float | None = 10_000.0) -> Controller:
        it = controller(Scripted(rate=rate), point=5, overhead_bytes=100)
        it.connected(NOW_S)
        sent(it, 1, NOW_S, size=1)
        it.acknowledged(1, 0, NOW_S)
        return it

    usual = POINTS[5].bytes + 100

    def test_it_is_what_the_link_carries_less_the_next_frame(self) -> None:
        it = self.share()
        assert it.spare_bytes(NOW_S + 0.1, UNIX_S, "a") == pytest.approx(
            5000 - self.ratio(it) * POINTS[5].bytes - 100
        )

    def test_it_is_less_by_what_is_under_way_and_nothing_once_that_is_overdue(self) -> None:
        it = controller(Scripted(rate=10_000.0), point=5)
        it.connected(NOW_S)
        sent(it, 1, NOW_S, size=2000, number=None)
        it.acknowledged(1, 0, NOW_S + 0.1)
        idle = it.spare_bytes(NOW_S + 0.1, UNIX_S, "a")
        sent(it, 2, NOW_S + 0.2, size=1900, number=None)  # a tenth of a second carries 1,000
        assert it.spare_bytes(NOW_S + 0.25, UNIX_S, "a") == pytest.approx(idle - 1000)
        assert it.spare_bytes(NOW_S + 0.31, UNIX_S, "a") == 0.0

    def test_a_link_that_carries_less_than_four_of_the_smallest_has_none(self) -> None:
        least = 4 * (POINTS[0].bytes + 100)
        for carried, some in ((least * 0.99, False), (least * 1.01 + self.usual, True)):
            it = controller(Scripted(rate=carried / 0.5), point=5)
            it.connected(NOW_S)
            assert (it.spare_bytes(NOW_S + 0.1, UNIX_S, "a") > 0) is some

    def test_while_nothing_live_goes_for_longer_than_the_deadline_it_is_a_frames_worth(
        self,
    ) -> None:
        it = controller(Scripted(rate=None), point=5, deadline_s=2.0)
        it.connected(NOW_S)
        assert it.spare_bytes(NOW_S + 2.0, UNIX_S, "a") == 0.0
        assert it.spare_bytes(NOW_S + 2.01, UNIX_S, "a") == pytest.approx(self.usual)
        assert it.spare_bytes_per_s(NOW_S + 2.01, UNIX_S, "a") == pytest.approx(2 * self.usual)

    def test_without_a_connection_or_under_the_clouds_bound_there_is_none(self) -> None:
        it = self.share()
        assert it.spare_bytes(NOW_S + 0.1, UNIX_S, "a") > 0
        it.bounded(1, "busy")
        assert it.spare_bytes(NOW_S + 0.1, UNIX_S, "a") == 0.0
        it.bounded(0, "")
        it.lost_connection(NOW_S + 0.2)
        assert it.spare_bytes(NOW_S + 0.2, UNIX_S, "a") == 0.0

    def ratio(self, it: Controller) -> float:
        cost = it.decide(NOW_S + 0.1, UNIX_S, "a", again=True).wire_bytes
        return (cost - 100) / POINTS[0].bytes


class TestReasons:
    def test_each_bound_has_its_sentence(self) -> None:
        of = reasons.of_point
        assert of("best", 8, 9, None, 0.0) == (
            "point 8 of 0 to 8: the bundle's best, and the link carries it"
        )
        assert "the only one" in of("fixed", 3, 9, None, 0.0)
        assert "small until" in of("start", 1, 9, None, 0.0)
        assert "one step at a time" in of("probe", 2, 9, None, 0.0)

    def test_a_link_is_said_in_kilobits_and_its_backlog_in_bytes(self) -> None:
        text = "point 2 of 0 to 8: the best that fits a link of "
        assert reasons.of_point("link", 2, 9, 1250.0, 0.99) == text + "10.0 kbit/s"
        assert reasons.of_point("link", 2, 9, 1250.0, 1.0) == (
            text + "10.0 kbit/s, 1 bytes of which are still to come"
        )
        assert reasons.of_point("link", 2, 9, None, 0.0) == text + "an unknown rate"

    def test_the_clouds_words_follow_its_number_where_it_has_some(self) -> None:
        assert reasons.of_cloud(12.0, "") == "to the spool: the cloud takes 12 frames a minute"
        assert reasons.of_cloud(0.5, "busy").endswith("0.5 frames a minute (busy)")

    def test_ages_are_in_seconds(self) -> None:
        assert reasons.of_age(2.345, 2.0) == (
            "to the spool: the oldest packet is not acknowledged after 2.3 s, the deadline is 2 s"
        )
        assert reasons.of_gate_probe(0, 12.0).endswith("which was silent for 12.0 s")


class TestSettings:
    def test_the_defaults(self) -> None:
        it = BudgetSettings()
        assert (it.policy, it.point, it.deadline_s, it.interval_s) == ("robust", None, 2.0, 0.5)
        assert (it.overhead_bytes, it.bytes_per_day, it.probe_every_s) == (100, None, 10.0)

    @pytest.mark.parametrize("name", ["deadline_s", "interval_s", "probe_every_s"])
    @pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
    def test_times_are_finite_and_above_0(self, name: str, value: float) -> None:
        BudgetSettings(**{name: 1e-9})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"budget: {name} is {value}, give a number above 0"):
            BudgetSettings(**{name: value})  # type: ignore[arg-type]

    def test_no_headers_and_a_cap_of_one_byte_are_possible(self) -> None:
        assert BudgetSettings(overhead_bytes=0, bytes_per_day=1).bytes_per_day == 1
