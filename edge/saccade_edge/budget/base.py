"""What a budget policy promises.

A policy chooses the operating point of the next frame. It hears of every delivery and of every
interruption, and is then asked with the moment's numbers. It reads no clock and draws no lots: the
same calls give the same choices. What holds for every policy (the cloud's bound, the daily cap, the
age gate, the connection) is the controller's; a policy sees only the points that are allowed.

- ``choose`` gives one of ``moment.allowed`` and is called once for each live frame.
- ``delivered`` comes in the order of the acknowledgements, which need not be that of sending.
- ``interrupted``: the link stood still for longer than the deadline or the connection broke; what
  was measured before says little of what comes. It may come several times in a row.
- ``gated``: whether the age gate holds for it. The baselines have none, as published.
- Memory is bounded, and every number is finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from saccade_edge.budget.decision import Bound
from saccade_edge.budget.ladder import Ladder
from saccade_edge.budget.unacknowledged import Unacknowledged


@dataclass(frozen=True, slots=True)
class Delivery:
    """An acknowledged packet. ``service_s``: how long the link was busy with it, None where that is
    not known; ``wire_bytes``: headers included.
    """

    wire_bytes: int
    acked_s: float
    round_trip_s: float
    least_round_trip_s: float
    service_s: float | None


@dataclass(frozen=True, slots=True)
class Moment:
    """``allowed``: indices of points, ascending, at least one; ``interval_s``: until the next
    frame, as a rule.
    """

    now_s: float
    interval_s: float
    deadline_s: float
    least_round_trip_s: float
    unacknowledged: Unacknowledged
    ladder: Ladder
    allowed: tuple[int, ...]

    def overdue_bytes(self, slack_s: float = 0.0) -> int:
        """What an idle link would have delivered, and its acknowledgement, by now."""
        return self.unacknowledged.bytes_before(self.now_s - self.least_round_trip_s - slack_s)

    def backlog_bytes(self, rate_bytes_per_s: float) -> float:
        """What the link still has to carry: all that is overdue, and of what is younger than a
        round trip, and so cannot be acknowledged, what does not fit into that time.
        """
        overdue = self.overdue_bytes()
        young = self.unacknowledged.wire_bytes - overdue
        return overdue + max(young - rate_bytes_per_s * self.least_round_trip_s, 0.0)


@dataclass(frozen=True, slots=True)
class Choice:
    """A point and what kept the policy from a better one; the numbers as in `Decision`."""

    number: int
    bound: Bound
    backlog_bytes: float = 0.0
    room_bytes: float | None = None


class Policy(Protocol):
    """See above. ``rate``: what the link is expected to carry, bytes a second; None: unknown."""

    name: str
    gated: bool

    @property
    def rate(self) -> float | None: ...

    def delivered(self, delivery: Delivery) -> None: ...

    def interrupted(self) -> None: ...

    def choose(self, moment: Moment) -> Choice: ...
