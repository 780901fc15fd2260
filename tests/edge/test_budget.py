from __future__ import annotations

import math
from dataclasses import replace

import pytest

from saccade.errors import BundleError, ConfigError, LimitExceeded
from saccade_edge.budget import POLICIES, BudgetSettings, Controller
from saccade_testing.budget_contract import MANIFEST, POINTS, BudgetContract, Edge

BEST = len(POINTS) - 1


def edge(**settings: object) -> Edge:
    return Edge(Controller(MANIFEST, BudgetSettings(**settings)))  # type: ignore[arg-type]


class TestFixed(BudgetContract):
    policy = "fixed"

    def test_it_takes_the_bundles_own_point_or_the_users(self) -> None:
        assert edge(policy="fixed").frame().number == MANIFEST.selection.point
        assert edge(policy="fixed", point=3).frame().number == 3


class TestEwma(BudgetContract):
    policy = "ewma"

    def test_it_takes_four_fifths_of_the_smoothed_rate(self) -> None:
        it = self.edge()
        (first, second) = it.steady(2, delay_s=0.1)
        sent = round(first.point.bytes * 1.2) + 100
        assert second.rate_bytes_per_s == pytest.approx(sent / 0.1)
        assert second.room_bytes == pytest.approx(0.8 * sent / 0.1 * 0.5)


class TestAwstream(BudgetContract):
    policy = "awstream"

    def test_it_climbs_to_the_best_and_degrades_on_congestion(self) -> None:
        it = self.edge()
        assert it.steady(20)[-1].number == BEST
        degraded = [it.frame()]
        for _ in range(8):  # nothing is acknowledged
            it.pass_s(0.5)
            degraded.append(it.frame())
        assert degraded[-1].number == 0

    def test_it_probes_only_after_the_queue_was_empty_for_long(self) -> None:
        it = self.edge()
        it.steady(20)
        for _ in range(8):
            it.frame()
            it.pass_s(0.5)
        while it.under_way:
            it.acknowledged()
        numbers = [d.number for d in it.steady(25)]
        assert numbers[:16] == [numbers[0]] * 16  # 2 s to be steady, four times 2 s to probe
        assert numbers[-1] > numbers[0]


class TestRobust(BudgetContract):
    policy = "robust"

    def test_it_climbs_to_the_best_on_a_good_link_within_ten_seconds(self) -> None:
        decisions = self.edge().steady(20)
        assert (decisions[-1].number, decisions[-1].bound) == (BEST, "best")
        assert decisions[0].bound == "start"
        assert {d.bound for d in decisions[3:8]} == {"probe"}

    def test_the_age_gate_shuts_after_the_deadline_and_opens_with_the_acknowledgement(self) -> None:
        it = self.edge()
        it.steady(20)
        silent = []
        for _ in range(8):
            silent.append(it.frame())
            it.pass_s(0.5)
        assert [d.live for d in silent] == [True] * 5 + [False] * 3
        assert silent[-1].bound == "age"
        assert "not acknowledged after 3.5 s" in silent[-1].reason
        assert silent[-1].number == MANIFEST.selection.point
        while it.under_way:
            it.acknowledged()
        back = it.frame()
        assert (back.live, back.bound) == (True, "start")

    def test_a_shut_gate_lets_a_small_frame_out_now_and_then(self) -> None:
        it = self.edge()
        it.steady(20)
        silent = []
        for _ in range(80):
            silent.append(it.frame())
            it.pass_s(0.5)
        probes = [d for d in silent[5:] if d.live]
        assert [(d.number, d.bound) for d in probes] == [(0, "probe")] * 3
        assert "asks whether the link is back" in probes[0].reason

    def test_a_lost_acknowledgement_does_not_shut_the_gate_for_ever(self) -> None:
        it = self.edge()
        it.frame()  # never acknowledged
        for _ in range(100):
            it.pass_s(0.05)
            if it.frame().live:
                it.acknowledged(len(it.under_way) - 1)
        it.pass_s(0.5)
        assert it.frame().live

    def test_a_refused_packet_is_not_waited_for(self) -> None:
        it = self.edge()
        it.frame()
        it.controller.refused(1)
        it.pass_s(3)
        assert it.frame().bound == "start"

    def test_after_an_outage_it_begins_small_and_is_back_within_ten_seconds(self) -> None:
        it = self.edge()
        it.steady(20)
        for _ in range(60):
            it.frame()
            it.pass_s(0.5)
        while it.under_way:
            it.acknowledged()
        after = it.steady(20)
        assert after[0].wire_bytes <= 1.5 * (POINTS[0].bytes * 1.2 + 100)
        assert after[-1].number == BEST

    def test_a_slow_link_drives_it_down_at_once(self) -> None:
        it = self.edge()
        before = it.steady(20)[-1]
        it.frame()
        it.pass_s(1.5)  # 11 kB in 1.5 s
        it.acknowledged()
        after = it.frame()
        assert before.number == BEST
        assert after.wire_bytes < before.wire_bytes / 4
        assert after.room_bytes is not None
        assert after.wire_bytes <= after.room_bytes
        assert after.bound == "link"
        assert "kbit/s" in after.reason

    def test_a_backlog_leaves_less_room(self) -> None:
        it = self.edge()
        it.steady(20)
        burst = []
        for _ in range(40):  # 440 kB, nothing acknowledged
            burst.append(it.frame())
            it.pass_s(0.02)
        rooms = [d.room_bytes or 0.0 for d in burst]
        assert rooms == sorted(rooms, reverse=True)
        assert burst[0].number == BEST
        assert burst[-1].number < BEST
        assert "are still to come" in burst[-1].reason

    def test_the_spool_gets_what_a_good_idle_link_has_left(self) -> None:
        it = self.edge()
        assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == 0
        it.steady(20)
        spare = it.controller.spare_bytes(it.now_s, it.unix_s, "a")
        decision = it.controller.decide(it.now_s, it.unix_s, "a")
        assert decision.rate_bytes_per_s is not None
        assert 0 < spare < decision.rate_bytes_per_s * 0.5
        it.frame()
        it.pass_s(0.5)  # overdue
        assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == 0

    def test_the_spool_gets_no_more_than_the_days_cap_leaves(self) -> None:
        it = self.edge(bytes_per_day=200_000)
        it.steady(20)
        left = 200_000 - it.spent["a"]
        assert 0 < it.controller.spare_bytes(it.now_s, it.unix_s, "a") <= left

    def test_where_nothing_moves_the_spool_may_try_a_frames_worth(self) -> None:
        it = self.edge()
        it.controller.connected(it.now_s)
        assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == 0
        it.pass_s(2.5)
        assert 100 < it.controller.spare_bytes(it.now_s, it.unix_s, "a") < 1000
        it.controller.sent(1, 200, it.now_s, camera="a", number=None)
        assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == 0

    def test_the_spool_waits_while_the_cloud_bounds_frames(self) -> None:
        it = self.edge()
        it.steady(20)
        assert it.controller.spare_bytes_per_s(it.now_s, it.unix_s, "a") > 0
        it.controller.bounded(60, "busy")
        assert it.controller.spare_bytes_per_s(it.now_s, it.unix_s, "a") == 0

    def test_the_users_point_is_where_it_begins(self) -> None:
        it = self.edge(point=9)
        assert [d.number for d in it.steady(2)] == [9, 9]
        assert it.steady(30)[-1].number == BEST


FLAT = MANIFEST.selection.flat_from or 0


def test_a_cameras_default_stops_where_agreement_is_flat_and_says_so() -> None:
    decisions = edge().steady(60)
    assert max(d.number for d in decisions) == FLAT < BEST
    assert decisions[-1].bound == "max_point"
    assert "more bytes would hardly change an answer" in decisions[-1].reason


def test_what_is_asked_for_goes_beyond_the_mark_or_stays_below_it() -> None:
    assert edge(max_point="best").steady(60)[-1].number == BEST
    assert edge(max_point=FLAT + 5).steady(60)[-1].number == FLAT + 5
    low = edge(max_point=4).steady(60)[-1]
    assert (low.number, low.bound) == (4, "max_point")
    assert "the highest that the settings allow" in low.reason
    assert edge(point=FLAT + 9).steady(60)[-1].number == FLAT + 9


def test_the_mark_is_of_robust_and_the_users_bound_of_every_policy() -> None:
    assert edge(policy="awstream").steady(60)[-1].number == BEST
    for policy in POLICIES:
        assert max(d.number for d in edge(policy=policy, max_point=3).steady(60)) <= 3


def test_a_bundle_without_a_mark_goes_to_its_best() -> None:
    selection = replace(MANIFEST.selection, flat_from=None)
    unmarked = Controller(replace(MANIFEST, selection=selection), BudgetSettings())
    assert Edge(unmarked).steady(60)[-1].number == BEST


def test_the_users_bound_holds_for_frames_of_the_spool() -> None:
    it = edge(max_point=2)
    it.controller.lost_connection(it.now_s)
    kept = it.frame()
    assert (kept.live, kept.number) == (False, 2)


@pytest.mark.parametrize("wrong", [-1, BEST + 1])
def test_a_bound_that_is_no_point_is_an_error(wrong: int) -> None:
    with pytest.raises(ConfigError, match=f"operating point {wrong}, the bundle has 0 to {BEST}"):
        edge(max_point=wrong)
    with pytest.raises(ConfigError, match="point 9 is above max_point 5"):
        edge(point=9, max_point=5)


def test_the_default_is_robust() -> None:
    assert BudgetSettings().policy == "robust"
    assert sorted(POLICIES) == ["awstream", "ewma", "fixed", "robust"]


def test_cameras_share_the_link_and_have_caps_of_their_own() -> None:
    it = edge(bytes_per_day=500)
    while it.frame("a").live:
        it.pass_s(0.5)
        it.acknowledged()
    assert it.frame("b").live


def test_a_policy_that_measures_nothing_leaves_the_spools_pace_to_others() -> None:
    it = edge(policy="fixed")
    assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == math.inf
    it.controller.lost_connection(it.now_s)
    assert it.controller.spare_bytes(it.now_s, it.unix_s, "a") == 0


def test_a_days_bytes_are_counted_on() -> None:
    first, second = edge(), edge(bytes_per_day=500)
    first.frame()
    day, used_bytes = first.controller.spent(first.unix_s, "a")
    assert used_bytes == first.spent["a"]
    second.controller.restore("a", day, 500 - used_bytes)
    second.controller.restore("a", day, used_bytes)
    assert (second.frame("a").bound, second.frame("b").bound) == ("cap", "start")
    assert second.controller.spent(second.unix_s + 86_400, "a") == (day + 1, 0)


def test_a_frame_that_waits_does_not_count_as_several() -> None:
    waiting, plain = edge(), edge()
    for it, asks in ((waiting, 20), (plain, 1)):
        for _ in range(10):
            it.controller.decide(it.now_s, it.unix_s, "a")
            for _ in range(asks - 1):
                it.controller.decide(it.now_s, it.unix_s, "a", again=True)
            it.pass_s(0.5)
    assert waiting.frame().room_bytes == plain.frame().room_bytes
    assert waiting.controller._pace.interval_s == plain.controller._pace.interval_s


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown budget policy 'best', known are: robust"):
        edge(policy="best")
    with pytest.raises(ConfigError, match=f"point {BEST + 1}, the bundle has 0 to {BEST}"):
        edge(point=BEST + 1)
    with pytest.raises(ConfigError, match="deadline_s is nan"):
        BudgetSettings(deadline_s=float("nan"))
    with pytest.raises(ConfigError, match="interval_s is 0"):
        BudgetSettings(interval_s=0)
    with pytest.raises(ConfigError, match="overhead_bytes is -1"):
        BudgetSettings(overhead_bytes=-1)
    with pytest.raises(ConfigError, match="bytes_per_day is 0"):
        BudgetSettings(bytes_per_day=0)


def test_a_bundle_without_points_says_what_to_do() -> None:
    with pytest.raises(BundleError, match="no operating points: calibrate it"):
        Controller(replace(MANIFEST, points=()), BudgetSettings())


def test_cameras_are_bounded() -> None:
    it = edge()
    for number in range(256):
        it.controller.decide(0.0, 0.0, f"camera {number}")
    with pytest.raises(LimitExceeded, match="256 cameras"):
        it.controller.decide(0.0, 0.0, "one more")
