"""The default: what the link surely carries until the next frame, less what it still has to carry.

Down at once, to what fits. Up one step, after three deliveries that kept up with the frames; one
is enough where the link has shown that it can: until its rate first drove the policy down, and
again up to where it last was. At first and after an interruption it begins with the careful point,
one step above the smallest: the headers around them make them alike to the link, but not to who
looks. Or with the user's.
"""

from __future__ import annotations

import math

from saccade_edge.budget.base import Choice, Delivery, Moment
from saccade_edge.budget.fixed import at_most
from saccade_edge.budget.robust_rate import RobustRate

CLEAN_DELIVERIES = 3


class Robust:
    """``deadline_s``: a delivery that took longer tells of an outage, not of a rate. ``start``:
    where to begin, None: careful.
    """

    name = "robust"
    gated = True

    def __init__(self, deadline_s: float, start: int | None = None) -> None:
        self._deadline_s = deadline_s
        self._start = start
        self._rates = RobustRate()
        self._number: int | None = None  # None: begin anew
        self._good = math.inf  # the point up to which the link has shown that it can
        self._clean = 0  # deliveries that kept up, since the last step
        self._interval_s = math.inf

    @property
    def rate(self) -> float | None:
        return self._rates.predicted

    def delivered(self, delivery: Delivery) -> None:
        if delivery.round_trip_s > self._deadline_s:
            self.interrupted()
        elif delivery.service_s is not None:
            self._rates.add(delivery.wire_bytes / delivery.service_s)
            self._clean = self._clean + 1 if delivery.service_s <= self._interval_s else 0

    def interrupted(self) -> None:
        self._rates.clear()
        self._number, self._clean = None, 0

    def choose(self, moment: Moment) -> Choice:
        self._interval_s = moment.interval_s
        rate, allowed = self.rate, moment.allowed
        if rate is None or self._number is None:
            careful = moment.ladder.step_up(allowed[0], allowed)
            self._number = careful if self._start is None else at_most(self._start, allowed)
            return Choice(self._number, "start", moment.unacknowledged.wire_bytes)
        backlog = moment.backlog_bytes(rate)
        room = rate * moment.interval_s - backlog
        fits = moment.ladder.best_within(room, allowed)
        number = at_most(self._number, allowed)
        if fits is None or fits < number:
            number = self._down(fits, rate, moment)
        elif fits > number and self._clean >= (1 if number < self._good else CLEAN_DELIVERIES):
            number = min(moment.ladder.step_up(number, allowed), fits)
            self._clean, self._good = 0, max(self._good, number)
        self._number = number
        if number == allowed[-1]:
            return Choice(number, "best", backlog, room)
        return Choice(number, "link" if fits is None or fits <= number else "probe", backlog, room)

    def _down(self, fits: int | None, rate: float, moment: Moment) -> int:
        """A backlog passes, and then the link can what it could; a rate has to be shown anew. Only
        a rate leads below the careful point.
        """
        ladder, allowed = moment.ladder, moment.allowed
        sustained = ladder.best_within(rate * moment.interval_s, allowed) or allowed[0]
        self._good, self._clean = min(self._good, sustained), 0
        careful = min(sustained, ladder.step_up(allowed[0], allowed))
        return careful if fits is None else max(fits, careful)
