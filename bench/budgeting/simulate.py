"""An ideal link as a queue, and a budget in front of it: a simulation, no network.

The link delivers packets in order, a byte as soon as the trace allows one, and every packet a fixed
delay later; its acknowledgement takes as long back. There is no TCP, no loss, no encoder. Frames of
one point differ in size like those of a camera: a seeded factor for each frame, the same whatever
the policy.
"""

from __future__ import annotations

import heapq
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
    """Of one frame. ``latency_s``: from capture to the cloud; None: left to the spool."""

    number: int
    wire_bytes: int
    latency_s: float | None


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
    queue = Queue(trace)
    arrivals: list[tuple[float, int, float]] = []  # acknowledged at, frame, at the cloud
    outcomes: list[Outcome] = []
    for frame in range(len(clip.factors)):
        now_s = frame * clip.interval_s
        while arrivals and arrivals[0][0] <= now_s:
            acked_s, sequence, arrived_s = heapq.heappop(arrivals)
            received_unix_ms = int((EPOCH_UNIX_S + arrived_s) * 1e3)
            budget.acknowledged(sequence, received_unix_ms, acked_s)
        decision = budget.decide(now_s, EPOCH_UNIX_S + now_s, CAMERA)
        if not decision.live:
            outcomes.append(Outcome(decision.number, 0, None))
            continue
        wire_bytes = clip.wire_bytes(frame, decision.number)
        arrived_s = queue.deliver(wire_bytes, now_s)
        packet_bytes = clip.packet_bytes(frame, decision.number)
        budget.sent(frame, packet_bytes, now_s, camera=CAMERA, number=decision.number)
        heapq.heappush(arrivals, (arrived_s + trace.delay_s, frame, arrived_s))
        outcomes.append(Outcome(decision.number, wire_bytes, arrived_s - now_s))
    return outcomes


def reachable(trace: Trace, clip: Clip) -> list[bool]:
    """Whether each frame could be on time at the smallest point, alone on the link."""
    captured_s = [frame * clip.interval_s for frame in range(len(clip.factors))]
    within_s = clip.deadline_s - trace.delay_s
    return [
        trace.bytes_by(now_s + within_s) - trace.bytes_by(now_s) >= clip.wire_bytes(frame, 0)
        for frame, now_s in enumerate(captured_s)
    ]
