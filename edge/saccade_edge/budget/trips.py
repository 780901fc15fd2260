"""How long the link served each packet, from when it was sent and when it arrived.

Service begins when the packet could have arrived on an idle link, or when the packet before it
arrived, whichever is later: time in which the link had nothing to do says nothing of its rate.
Arrivals are counted by the cloud's clock, so that the way back does not matter, and only their
differences are used, so that the clocks need not agree. Where the cloud's clock cannot be right
(it jumped, or says nothing), the edge's own times of the acknowledgements take its place.
"""

from __future__ import annotations

from dataclasses import dataclass

# Delays tremble by as much on a radio link, and would pass for the service of a small packet.
LEAST_SERVICE_S = 0.02
# By how much a delay on the cloud's clock may seem to exceed the whole round trip.
CLOCK_SLACK_S = 0.05
# Least delays are remembered so long: clocks drift, and ways change.
WINDOW_S = 120.0


class LeastOf:
    """The least value of the last one to two half windows, in constant memory."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._half_s = window_s / 2
        self._since_s = 0.0
        self._halves: tuple[float | None, float | None] = (None, None)  # the earlier, the later

    @property
    def value(self) -> float | None:
        known = [half for half in self._halves if half is not None]
        return min(known, default=None)

    def add(self, value: float, now_s: float) -> None:
        earlier, later = self._halves
        if later is None or not 0 <= now_s - self._since_s <= self._half_s:
            self._since_s = now_s
            self._halves = (later, value)
        else:
            self._halves = (earlier, min(later, value))

    def clear(self) -> None:
        self._halves = (None, None)


@dataclass(frozen=True, slots=True)
class Trip:
    """``service_s``: None for the first, with which nothing can be compared."""

    round_trip_s: float
    least_round_trip_s: float
    service_s: float | None


class _Arrivals:
    """Arrivals by one clock."""

    def __init__(self) -> None:
        self._way = LeastOf()
        self._last_s: float | None = None

    def service_s(self, sent_s: float, arrived_s: float, now_s: float) -> float | None:
        least, last_s = self._way.value, self._last_s
        self._way.add(arrived_s - sent_s, now_s)
        self._last_s = arrived_s
        if least is None or last_s is None:
            return None
        return max(arrived_s - max(sent_s + least, last_s), LEAST_SERVICE_S)

    def plausible(self, sent_s: float, arrived_s: float, round_trip_s: float) -> bool:
        """Whether the packet waited no longer than its round trip took, and time went forward."""
        if self._way.value is None or self._last_s is None:
            return True
        waited_s = arrived_s - sent_s - self._way.value
        return (
            -CLOCK_SLACK_S <= waited_s <= round_trip_s + CLOCK_SLACK_S
            and arrived_s >= self._last_s - CLOCK_SLACK_S
        )

    def clear(self) -> None:
        self._way.clear()
        self._last_s = None


class Trips:
    """Of one connection: ``clear`` when it ends."""

    def __init__(self) -> None:
        self._round_trip = LeastOf()
        self._cloud = _Arrivals()
        self._edge = _Arrivals()

    @property
    def least_round_trip_s(self) -> float:
        """0 where nothing is known."""
        return self._round_trip.value or 0.0

    def measure(self, sent_s: float, received_unix_ms: int, acked_s: float) -> Trip:
        """``received_unix_ms``: by the cloud's clock; 0: it did not say."""
        round_trip_s = max(acked_s - sent_s, 0.0)
        self._round_trip.add(round_trip_s, acked_s)
        service_s = self._edge.service_s(sent_s, acked_s, acked_s)
        received_s = received_unix_ms / 1e3
        if received_unix_ms <= 0 or not self._cloud.plausible(sent_s, received_s, round_trip_s):
            self._cloud.clear()
        if received_unix_ms > 0:
            by_cloud_s = self._cloud.service_s(sent_s, received_s, acked_s)
            service_s = service_s if by_cloud_s is None else by_cloud_s
        return Trip(round_trip_s, self.least_round_trip_s, service_s)

    def clear(self) -> None:
        self._round_trip.clear()
        self._cloud.clear()
        self._edge.clear()
