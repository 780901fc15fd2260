"""An ideal link as a queue, and a budget in front of it: a simulation, no network.

The link delivers packets in order, a byte as soon as the trace allows one, and every packet a fixed
delay later; its acknowledgement takes as long back. There is no TCP, no loss, no encoder. Frames of
one point differ in size like those of a camera: a seeded factor for each frame, the same whatever
the policy.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.link.trace import Trace
from saccade.errors import ConfigError
from saccade.manifest import OperatingPoint
from saccade_edge.budget import Decision

CAMERA = "camera"
EPOCH_UNIX_S = 1_700_000_000.0
SIZE_SIGMA = 0.3


class Budget(Protocol):
    """What the simulation asks of a controller, and of the oracle."""

    def decide(self, now_s: float, unix_s: float, camera: str) -> Decision: ...

    def sent(
        self, sequence: int, packet_bytes: int, now_s: float, *, camera: str, number: int | None
    ) -> None: ...

    def acknowledged(self, sequence: int, received_unix_ms: int, now_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames to send. ``factors``: each frame's bytes over its point's."""

    points: tuple[OperatingPoint, ...]
    factors: tuple[float, ...]
    interval_s: float
    deadline_s: float
    overhead_bytes: int

    def packet_bytes(self, frame: int, number: int) -> int:
        return max(round(self.points[number].bytes * self.factors[frame]), 1)

    def wire_bytes(self, frame: int, number: int) -> int:
        return self.packet_bytes(frame, number) + self.overhead_bytes


def clip_for(
    trace: Trace,
    points: Sequence[OperatingPoint],
    *,
    seed: str,
    fps: float,
    deadline_s: float,
    overhead_bytes: int,
) -> Clip:
    """As long as the trace, before it begins again. Raises ``ConfigError`` where that is less than
    a frame.
    """
    chance = random.Random(seed)
    frames = int(trace.period_s * fps)
    if frames < 1:
        raise ConfigError(f"a trace of {trace.period_s:g} s: no frame at {fps:g} a second")
    shift = -(SIZE_SIGMA**2) / 2  # so that the mean is 1
    factors = tuple(chance.lognormvariate(shift, SIZE_SIGMA) for _ in range(frames))
    return Clip(tuple(points), factors, 1 / fps, deadline_s, overhead_bytes)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one frame. ``latency_s``: from capture to the cloud; None: left to the spool. ``live``: it
    went at once, and was not held.
    """

    number: int
    wire_bytes: int
    latency_s: float | None
    live: bool = True


class Queue:
    """The link: in order, one packet after another."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._position = 0.0  # in the trace's bytes

    def deliver(self, wire_bytes: int, now_s: float) -> float:
        """When the packet arrives at the cloud."""
        self._position = max(self._trace.bytes_by(now_s), self._position) + wire_bytes
        return self._trace.when(self._position) + self._trace.delay_s


def simulate(trace: Trace, clip: Clip, budget: Budget) -> list[Outcome]:
    """One outcome for each frame of the clip."""
    run = _Run(trace, clip, budget)
    for frame in range(len(clip.factors)):
        run.capture(frame)
    run.hear(math.inf)
    return [run.outcomes[frame] for frame in range(len(clip.factors))]


class _Run:
    """Like the edge: what is held goes, the newest first, once nothing under way is overdue."""

    def __init__(self, trace: Trace, clip: Clip, budget: Budget) -> None:
        self._clip = clip
        self._budget = budget
        self._delay_s = trace.delay_s
        self._queue = Queue(trace)
        self._acks: list[tuple[float, int, float]] = []  # heard at, frame, at the cloud
        self._under_way: dict[int, float] = {}  # frame -> when it was sent
        self._held: list[tuple[int, int]] = []  # frame, number
        self.outcomes: dict[int, Outcome] = {}

    def capture(self, frame: int) -> None:
        now_s = frame * self._clip.interval_s
        self.hear(now_s)
        decision = self._budget.decide(now_s, EPOCH_UNIX_S + now_s, CAMERA)
        self.outcomes[frame] = Outcome(decision.number, 0, None)
        if decision.live:
            self._send(frame, decision.number, now_s, live=True)
        elif decision.held:
            self._held.append((frame, decision.number))

    def hear(self, until_s: float) -> None:
        """All acknowledgements by then."""
        while self._acks and self._acks[0][0] <= until_s:
            heard_s, frame, arrived_s = heapq.heappop(self._acks)
            del self._under_way[frame]
            self._budget.acknowledged(frame, int((EPOCH_UNIX_S + arrived_s) * 1e3), heard_s)
            oldest_s = heard_s - min(self._under_way.values(), default=heard_s)
            while self._held and oldest_s <= self._clip.deadline_s:
                held, number = self._held.pop()
                if held * self._clip.interval_s + self._clip.deadline_s > heard_s:
                    self._send(held, number, heard_s, live=False)

    def _send(self, frame: int, number: int, now_s: float, *, live: bool) -> None:
        clip = self._clip
        wire_bytes = clip.wire_bytes(frame, number)
        arrived_s = self._queue.deliver(wire_bytes, now_s)
        packet_bytes = clip.packet_bytes(frame, number)
        self._budget.sent(frame, packet_bytes, now_s, camera=CAMERA, number=number)
        self._under_way[frame] = now_s
        heapq.heappush(self._acks, (arrived_s + self._delay_s, frame, arrived_s))
        latency_s = arrived_s - frame * clip.interval_s
        self.outcomes[frame] = Outcome(number, wire_bytes, latency_s, live)


def reachable(trace: Trace, clip: Clip) -> list[bool]:
    """Whether each frame could be on time at the smallest point, alone on the link."""
    captured_s = [frame * clip.interval_s for frame in range(len(clip.factors))]
    within_s = clip.deadline_s - trace.delay_s
    return [
        trace.bytes_by(now_s + within_s) - trace.bytes_by(now_s) >= clip.wire_bytes(frame, 0)
        for frame, now_s in enumerate(captured_s)
    ]
