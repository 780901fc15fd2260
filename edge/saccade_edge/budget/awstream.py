"""The state machine of AWStream, a baseline (Zhang et al., SIGCOMM 2018, section 4.2 and its code).

    STARTUP   up a step each frame; out of it after more than 3 signals of congestion
    DEGRADE   the best point within 0.9 of the measured rate; STEADY once the queue is empty
    STEADY    stays; DEGRADE on congestion, PROBE after more than 3 signals of an empty queue
    PROBE     one step up; DEGRADE on congestion, STEADY once the queue is empty again

Constants are those of the published code: it looks every 100 ms, smooths the rate by half, calls a
queue congested when it holds more than 1 ms of the rate, and empty after 20 looks without one. Here
it looks when a frame comes, the queue is what an idle link would have acknowledged, with one look's
time for trembling delays, and the rate is what was acknowledged over the time that passed.
"""

from __future__ import annotations

from enum import Enum

from saccade_edge.budget.base import Choice, Delivery, Moment
from saccade_edge.budget.fixed import at_most

LOOK_S = 0.1
RATE_WEIGHT = 0.5
ALPHA = 0.9
CONGESTED_S = 0.001
EMPTY_S = 20 * LOOK_S
SIGNALS = 3


class Phase(Enum):
    """Where the state machine stands."""

    STARTUP = "startup"
    DEGRADE = "degrade"
    STEADY = "steady"
    PROBE = "probe"


class Awstream:
    """Has no age gate: frames wait in its queue."""

    name = "awstream"
    gated = False

    def __init__(self) -> None:
        self.rate: float | None = None
        self.phase = Phase.STARTUP
        self._number: int | None = None
        self._delivered_bytes = 0
        self._looked_s: float | None = None
        self._empty_since_s: float | None = None
        self._congestions = 0
        self._empties = 0

    def delivered(self, delivery: Delivery) -> None:
        self._delivered_bytes += delivery.wire_bytes

    def interrupted(self) -> None:
        """It notices nothing but its queue."""

    def choose(self, moment: Moment) -> Choice:
        queued = moment.overdue_bytes(LOOK_S)
        self._measure(moment, queued)
        congested = queued > CONGESTED_S * (self.rate or 0.0)
        number = at_most(self._number or 0, moment.allowed)
        if self._number is None:
            number = moment.allowed[0]
        elif congested:
            number = self._congested(number, moment)
        else:
            number = self._clear(number, moment)
        self._number = number
        return Choice(number, "link" if self.phase is Phase.DEGRADE else "probe", queued)

    def _measure(self, moment: Moment, queued: int) -> None:
        """The rate is known only while there is a queue; without one it is what was asked of it."""
        if self._looked_s is not None and moment.now_s > self._looked_s:
            rate = self._delivered_bytes / (moment.now_s - self._looked_s)
            if queued or self.rate is None or rate > self.rate:
                known = rate if self.rate is None else self.rate
                self.rate = known + RATE_WEIGHT * (rate - known)
        self._looked_s = moment.now_s
        self._delivered_bytes = 0

    def _congested(self, number: int, moment: Moment) -> int:
        self._empty_since_s, self._empties = None, 0
        self._congestions += 1
        if self.phase is Phase.STARTUP and self._congestions <= SIGNALS:
            return number
        self.phase = Phase.DEGRADE
        room = ALPHA * (self.rate or 0.0) * moment.interval_s
        fits = moment.ladder.best_within(room, moment.allowed)
        return moment.allowed[0] if fits is None else min(fits, number)

    def _clear(self, number: int, moment: Moment) -> int:
        self._congestions = 0
        if self.phase is Phase.STARTUP:
            return moment.ladder.step_up(number, moment.allowed)
        if not self._emptied(moment.now_s):
            return number
        if self.phase is Phase.STEADY:
            self._empties += 1
            if self._empties <= SIGNALS:
                return number
            self.phase, self._empties = Phase.PROBE, 0
            return moment.ladder.step_up(number, moment.allowed)
        self.phase, self._empties = Phase.STEADY, 0
        return number

    def _emptied(self, now_s: float) -> bool:
        """Whether the queue has been empty for long enough; then it is asked anew."""
        if self._empty_since_s is None:
            self._empty_since_s = now_s
        if now_s - self._empty_since_s < EMPTY_S:
            return False
        self._empty_since_s = now_s
        return True
