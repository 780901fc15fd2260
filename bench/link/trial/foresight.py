"""The oracle of `bench.link.oracle` in a real edge's place for the budget: it knows the trace and
the link's clock, and what its own packets weigh on the wire as well as any policy does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.link.connection import HEADER_BYTES, SEGMENT_BYTES
from bench.link.oracle import Oracle
from bench.link.trace import Trace
from saccade.manifest import Manifest
from saccade_edge.budget import BudgetSettings, Controller, Decision
from saccade_edge.budget.ladder import Ladder

# Of the deadline: edge and cloud compute, the answer returns, and a frame may be larger than its
# point's mean.
COMPUTING_S = 0.15
MARGIN = 1.3
QUESTION_BYTES = 60
SPARE_S = 0.25


def wire_bytes(packet_bytes: float, overhead_bytes: int) -> float:
    """A packet with its question as TCP segments."""
    payload = packet_bytes + overhead_bytes + QUESTION_BYTES
    return payload + HEADER_BYTES * math.ceil(payload / SEGMENT_BYTES)


class Foresight(Controller):
    """``link_s``: the link's second, now; ``frames``: how many there will be."""

    def __init__(
        self,
        manifest: Manifest,
        settings: BudgetSettings,
        trace: Trace,
        link_s: Callable[[], float],
        frames: int,
    ) -> None:
        super().__init__(manifest, settings)
        self._trace = trace
        self._link_s = link_s
        ladder = Ladder(manifest, settings.overhead_bytes)
        self._oracle = Oracle(
            manifest.points,
            trace.bytes_by,
            lambda _, number: (
                MARGIN * wire_bytes(ladder.points[number].bytes, settings.overhead_bytes)
            ),
            frames=frames,
            interval_s=settings.interval_s,
            deadline_s=settings.deadline_s,
            delay_s=2 * trace.delay_s + COMPUTING_S,
        )
        self._there = True

    def connected(self, now_s: float) -> None:
        super().connected(now_s)
        self._there = True

    def lost_connection(self, now_s: float) -> None:
        super().lost_connection(now_s)
        self._there = False

    def decide(self, now_s: float, unix_s: float, camera: str, *, again: bool = False) -> Decision:
        """By the oracle alone; without a connection, to the spool."""
        if not self._there:
            return super().decide(now_s, unix_s, camera, again=again)
        return self._oracle.decide(self._link_s(), unix_s, camera)

    def spare_bytes(self, now_s: float, unix_s: float, camera: str) -> float:
        """Half of what the link will carry until SPARE_S from now."""
        link_s = self._link_s()
        return (self._trace.bytes_by(link_s + SPARE_S) - self._trace.bytes_by(link_s)) / 2
