"""A smoothed rate of each frame, less a fifth: what a simple sender does. A baseline.

The rate of a frame is its bytes over its whole round trip, so waiting in a queue counts as a slow
link, and a small frame on a far link, too. There is no backlog in it and no age gate.
"""

from __future__ import annotations

from saccade_edge.budget.base import Choice, Delivery, Moment

WEIGHT = 0.5
SHARE = 0.8
LEAST_ROUND_TRIP_S = 0.001


class Ewma:
    """Goes to what fits at once, up as well as down."""

    name = "ewma"
    gated = False

    def __init__(self) -> None:
        self.rate: float | None = None

    def delivered(self, delivery: Delivery) -> None:
        sample = delivery.wire_bytes / max(delivery.round_trip_s, LEAST_ROUND_TRIP_S)
        self.rate = sample if self.rate is None else self.rate + WEIGHT * (sample - self.rate)

    def interrupted(self) -> None:
        """It notices nothing: a frame that was long under way lowers the rate in the end."""

    def choose(self, moment: Moment) -> Choice:
        if self.rate is None:
            return Choice(moment.allowed[0], "start")
        room = SHARE * self.rate * moment.interval_s
        number = moment.ladder.best_within(room, moment.allowed)
        number = moment.allowed[0] if number is None else number
        return Choice(number, "link", moment.unacknowledged.wire_bytes, room)
