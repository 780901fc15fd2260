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

from bench.budgeting.traces import Link
from saccade.manifest import OperatingPoint
from saccade_edge.budget import Decision

CAMERA = "camera"
EPOCH_UNIX_S = 1_700_000_000.0
SIZE_SIGMA = 0.3
# A packet that is not through after so long never is.
GIVEN_UP_S = 600.0


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
    link: Link,
    points: Sequence[OperatingPoint],
    *,
    fps: float,
    deadline_s: float,
    overhead_bytes: int,
) -> Clip:
    """As long as the link's trace."""
    chance = random.Random(link.name)
    frames = int(link.seconds * fps)
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

    def __init__(self, link: Link) -> None:
        self._link = link
        self._position = 0.0  # in the trace's bytes

    def deliver(self, wire_bytes: int, now_s: float) -> float:
        """When the packet arrives at the cloud; infinite where it never does."""
        self._position = max(self._link.bytes_by(now_s), self._position) + wire_bytes
        return self._when(self._position, now_s) + self._link.delay_s

    def _when(self, position: float, now_s: float) -> float:
        """The earliest time at which the trace has come so far, to half a millisecond."""
        early_s, late_s, step_s = now_s, now_s, 0.25
        while self._link.bytes_by(late_s) < position:
            if step_s > GIVEN_UP_S:
                return math.inf
            early_s, late_s, step_s = late_s, now_s + step_s, step_s * 2
        while late_s - early_s > 0.0005:
            middle_s = (early_s + late_s) / 2
            if self._link.bytes_by(middle_s) < position:
                early_s = middle_s
            else:
                late_s = middle_s
        return late_s


def simulate(link: Link, clip: Clip, budget: Budget) -> list[Outcome]:
    """One outcome for each frame of the clip."""
    queue = Queue(link)
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
        if math.isfinite(arrived_s):
            heapq.heappush(arrivals, (arrived_s + link.delay_s, frame, arrived_s))
        outcomes.append(Outcome(decision.number, wire_bytes, arrived_s - now_s))
    return outcomes


def reachable(link: Link, clip: Clip) -> list[bool]:
    """Whether each frame could be on time at the smallest point, alone on the link."""
    captured_s = [frame * clip.interval_s for frame in range(len(clip.factors))]
    within_s = clip.deadline_s - link.delay_s
    return [
        link.bytes_by(now_s + within_s) - link.bytes_by(now_s) >= clip.wire_bytes(frame, 0)
        for frame, now_s in enumerate(captured_s)
    ]
