"""What a budget promises whatever its policy; a test class per policy inherits these tests."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import astuple, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.bundle import Bundle
from saccade_edge.budget import BudgetSettings, Controller, Decision

MANIFEST = Bundle.open("crossing").manifest
POINTS = MANIFEST.points
DAY_S = 86_400.0
MIDNIGHT_UNIX_S = 20_000 * DAY_S
FRAME_S = 0.5

# What can happen to an edge, and how long after what happened before: seconds.
happenings = st.one_of(
    st.tuples(st.just("frame"), st.sampled_from(["a", "b"])),
    st.tuples(st.just("frame"), st.just("a")),
    st.tuples(st.just("acknowledged"), st.integers(0, 3)),
    st.tuples(st.just("refused"), st.integers(0, 3)),
    st.tuples(st.just("bounded"), st.sampled_from([0, 60])),
    st.tuples(st.just("lost")),
    st.tuples(st.just("connected")),
    st.tuples(st.just("clock"), st.sampled_from([-100.0, -0.3, math.nan, math.inf, -math.inf])),
)
stories = st.lists(
    st.tuples(happenings, st.sampled_from([0.0, 0.01, 0.1, 0.5, 3.0])), min_size=1, max_size=60
)


@dataclass
class Edge:
    """A controller and what it is told: packets are sent as they are decided, 1.2 times as large
    as their points say.
    """

    controller: Controller
    now_s: float = 100.0
    unix_s: float = MIDNIGHT_UNIX_S
    under_way: list[int] = field(default_factory=list)
    spent: dict[str, int] = field(default_factory=dict)
    sequence: int = 0

    def frame(self, camera: str = "a", overhead_bytes: int = 100) -> Decision:
        decision = self.controller.decide(self.now_s, self.unix_s, camera)
        if decision.live:
            self.sequence += 1
            size = round(decision.point.bytes * 1.2)
            self.controller.sent(
                self.sequence, size, self.now_s, camera=camera, number=decision.number
            )
            self.under_way.append(self.sequence)
            self.spent[camera] = self.spent.get(camera, 0) + size + overhead_bytes
        return decision

    def acknowledged(self, at: int = 0) -> None:
        if at < len(self.under_way):
            received_unix_ms = int(self.unix_s * 1e3)
            self.controller.acknowledged(self.under_way.pop(at), received_unix_ms, self.now_s)

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds
        self.unix_s += seconds

    def steady(self, frames: int, delay_s: float = 0.05) -> list[Decision]:
        """Frames that all arrive at once."""
        decisions = []
        for _ in range(frames):
            decisions.append(self.frame())
            self.pass_s(delay_s)
            if decisions[-1].live:
                self.acknowledged(len(self.under_way) - 1)
            self.pass_s(FRAME_S - delay_s)
        return decisions

    def live(self, story: list[tuple[tuple[object, ...], float]]) -> list[Decision]:
        """What was decided."""
        decisions = []
        for (what, *values), pause_s in story:
            self.pass_s(pause_s)
            if what == "frame":
                decisions.append(self.frame(str(values[0])))
            elif what == "acknowledged":
                self.acknowledged(int(str(values[0])))
            elif what == "refused" and self.under_way:
                self.controller.refused(self.under_way.pop())
            elif what == "bounded":
                self.controller.bounded(int(str(values[0])), "busy")
            elif what == "lost":
                self.controller.lost_connection(self.now_s)
            elif what == "connected":
                self.controller.connected(self.now_s)
            elif what == "clock":
                jumped_s = self.now_s + float(str(values[0]))
                decisions.append(self.controller.decide(jumped_s, jumped_s, "a"))
        return decisions


class BudgetContract:
    """Subclasses set ``policy``, a name."""

    policy: str

    def edge(self, **settings: object) -> Edge:
        """Nothing stops it below the bundle's best point."""
        chosen = BudgetSettings(policy=self.policy, max_point="best", **settings)  # type: ignore[arg-type]
        return Edge(Controller(MANIFEST, chosen))

    @given(story=stories)
    def test_every_decision_says_why_in_one_sentence_and_finite_numbers(
        self, story: list[tuple[tuple[object, ...], float]]
    ) -> None:
        for decision in self.edge().live(story):
            assert decision.reason
            assert "\n" not in decision.reason
            assert decision.point is POINTS[decision.number]
            assert decision.policy == self.policy
            numbers = [value for value in astuple(decision) if isinstance(value, float)]
            assert all(math.isfinite(number) for number in numbers)
            assert decision.oldest_s >= 0

    @given(story=stories)
    def test_the_same_calls_give_the_same_decisions(
        self, story: list[tuple[tuple[object, ...], float]]
    ) -> None:
        assert self.edge().live(story) == self.edge().live(story)

    @given(story=stories, cap=st.integers(1, 40_000))
    def test_the_days_cap_is_exceeded_by_one_packet_at_most(
        self, story: list[tuple[tuple[object, ...], float]], cap: int
    ) -> None:
        edge = self.edge(bytes_per_day=cap)
        edge.unix_s = MIDNIGHT_UNIX_S + 1  # and no story lasts a day
        for happening in story:
            before = dict(edge.spent)
            edge.live([happening])
            assert all(before.get(c, 0) < cap for c in edge.spent if edge.spent[c] != before.get(c))

    def test_a_reached_cap_says_so_and_ends_at_midnight_utc(self) -> None:
        edge = self.edge(bytes_per_day=1000)
        edge.unix_s = MIDNIGHT_UNIX_S + DAY_S - 60
        decisions = edge.steady(100)
        assert decisions[0].live
        assert {d.bound for d in decisions if not d.live} == {"cap"}
        assert "1000 bytes a day" in next(d.reason for d in decisions if not d.live)
        edge.pass_s(60)
        assert edge.frame().live

    def test_near_the_cap_frames_are_smaller(self) -> None:
        edge = self.edge(bytes_per_day=100_000)
        edge.unix_s = MIDNIGHT_UNIX_S + DAY_S - 3600
        near = [d for d in edge.steady(800) if d.bound == "cap" and d.live]
        assert near
        assert all(d.number == 0 for d in near[5:])  # a twentieth of the smallest is left for each

    def test_memory_is_bounded_although_nothing_is_ever_acknowledged(self) -> None:
        edge = self.edge(probe_every_s=0.1, bytes_per_day=10**12)

        def silence(frames: int) -> None:
            for _ in range(frames):
                decision = edge.controller.decide(edge.now_s, edge.unix_s, "a")
                edge.sequence += 1
                edge.controller.sent(
                    edge.sequence, 100, edge.now_s, camera="a", number=decision.number
                )
                edge.controller.acknowledged(-edge.sequence, 0, edge.now_s)
                edge.pass_s(FRAME_S)

        tracemalloc.start()
        try:
            silence(1500)
            before, _ = tracemalloc.get_traced_memory()
            silence(4000)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000

    def test_without_a_connection_frames_go_to_the_spool(self) -> None:
        edge = self.edge()
        edge.steady(3)
        edge.controller.lost_connection(edge.now_s)
        decision = edge.frame()
        assert (decision.live, decision.bound) == (False, "connection")
        edge.controller.connected(edge.now_s)
        assert edge.frame().live

    def test_the_cloud_gets_as_many_frames_a_minute_as_it_takes(self) -> None:
        edge = self.edge()
        edge.controller.bounded(30, "many\ncameras")
        decisions = edge.steady(240)  # two minutes
        assert sum(d.live for d in decisions) == 60
        held = next(d for d in decisions if not d.live)
        assert held.bound == "cloud"
        assert "30 frames a minute (many cameras)" in held.reason
        edge.controller.bounded(0, "")
        assert all(d.live for d in edge.steady(10))

    def test_a_new_stream_says_its_bounds_anew(self) -> None:
        edge = self.edge()
        edge.controller.bounded(1, "busy")
        edge.steady(3)
        edge.controller.lost_connection(edge.now_s)
        edge.controller.connected(edge.now_s)
        assert all(d.live for d in edge.steady(10))

    def test_before_the_first_acknowledgement_frames_are_small(self) -> None:
        if self.policy == "fixed":
            pytest.skip("fixed has one point by its name")
        assert self.edge().frame().wire_bytes <= 1.5 * (POINTS[0].bytes + 100)

    def test_real_packets_correct_what_points_are_said_to_cost(self) -> None:
        edge = self.edge()
        first = edge.frame()
        assert first.wire_bytes == pytest.approx(first.point.bytes + 100)
        edge.steady(40)
        last = edge.frame()
        assert last.wire_bytes == pytest.approx(last.point.bytes * 1.2 + 100, rel=0.02)

    def test_a_clock_that_goes_back_does_not_shut_the_link(self) -> None:
        edge = self.edge()
        edge.steady(10)
        edge.now_s = 5.0
        assert all(d.live for d in edge.steady(10))
