"""The cloud's bound and the edges that obey it, around a simulated engine: it settles, and soon."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from saccade_cloud.cloud_load import Load
from saccade_edge.budget.cloud_bound import CloudBound

FPS = 2.0
TICK_S = 0.02
LONGEST_S = 1.0
SETTLED_S, ENDS_S = 15.0, 45.0  # what lies between counts
MOST_OPEN = 32  # questions of one edge
MOST_WAITING = 256  # more the engine refuses


@dataclass
class Edge:
    """Times are the next ones; ``asks``: the frames of questions that it has yet to ask."""

    captures_s: float
    hears_s: float
    phase: float
    bound: CloudBound = field(default_factory=CloudBound)
    said: int = 0
    open: int = 0
    asks: deque[int] = field(default_factory=deque)


class Scene:
    """Cameras that ask ``asked`` questions about each frame, as they may; an engine of about
    ``rate`` answers a second, first come, first served. ``waited_s``: of each answer.
    """

    def __init__(self, rate: float, cameras: int, asked: int) -> None:
        dice = random.Random(1)
        self._dice, self._rate, self._asked = dice, rate, asked
        self._load = Load(LONGEST_S)
        self._edges = [
            Edge(dice.random() / FPS, dice.random(), dice.random()) for _ in range(cameras)
        ]
        self._queue: deque[tuple[int | None, Edge, float]] = deque()
        self._frames = 0
        self._may_serve = 0.0
        self.waited_s: list[float] = []

    def run(self) -> None:
        for tick in range(int(ENDS_S / TICK_S)):
            now_s = tick * TICK_S
            self._serve(now_s)
            for edge in self._edges:
                if now_s >= edge.captures_s:
                    self._capture(edge, now_s)
                if now_s >= edge.hears_s:
                    self._hear(edge, now_s)
                while edge.asks and edge.open < MOST_OPEN:
                    self._ask(edge, now_s)

    def _capture(self, edge: Edge, now_s: float) -> None:
        edge.captures_s += 1 / FPS
        if edge.bound.takes_frame(now_s) and not edge.asks:
            edge.bound.sent(now_s)
            self._frames += 1
            edge.asks.extend([self._frames] * self._asked)

    def _hear(self, edge: Edge, now_s: float) -> None:
        edge.hears_s += 1.0
        frames, reason = self._load.bound(edge.phase, now_s)
        if frames != edge.said:
            edge.said = frames
            edge.bound.set(frames, reason, edge.phase)

    def _ask(self, edge: Edge, now_s: float) -> None:
        number = self._load.asks(edge.phase, edge.asks.popleft(), now_s)
        if len(self._queue) >= MOST_WAITING:
            self._load.leaves(number)
            return
        edge.open += 1
        self._queue.append((number, edge, now_s))

    def _serve(self, now_s: float) -> None:
        self._may_serve += self._rate * TICK_S * self._dice.uniform(0.5, 1.5)
        while self._queue and self._may_serve >= 1:
            number, edge, since_s = self._queue.popleft()
            self._load.begins(number, now_s)
            edge.open -= 1
            self._may_serve -= 1
            if now_s >= SETTLED_S:
                self.waited_s.append(now_s - since_s)
        self._may_serve = min(self._may_serve, 1.0)  # an idle engine saves nothing up


@pytest.mark.parametrize(
    ("rate", "cameras", "asked"),
    [(240, 40, 6), (240, 80, 6), (240, 400, 3), (40, 7, 6), (40, 40, 2), (5, 1, 3)],
)
def test_a_full_engine_stays_busy_and_its_answers_in_time(
    rate: float, cameras: int, asked: int
) -> None:
    assert cameras * FPS * asked > 1.15 * rate
    scene = Scene(rate, cameras, asked)
    scene.run()
    served = len(scene.waited_s) / (rate * (ENDS_S - SETTLED_S))
    in_time = sum(waited <= 1.5 * LONGEST_S for waited in scene.waited_s) / len(scene.waited_s)
    assert served > 0.85
    assert in_time > 0.95


def test_an_engine_that_is_not_full_bounds_nobody() -> None:
    scene = Scene(240, 16, 6)
    scene.run()
    assert len(scene.waited_s) >= 0.98 * 16 * FPS * 6 * (ENDS_S - SETTLED_S)
    assert all(edge.bound.frames_per_minute is None for edge in scene._edges)
