"""A camera's bytes of a UTC day."""

from __future__ import annotations

import math

DAY_S = 86_400
# From here on what is left is shared out over what is left of the day.
NEAR = 0.8


class DailyCap:
    """Counts also where there is no cap. A clock that is set back keeps what was counted."""

    def __init__(self, bytes_per_day: int | None) -> None:
        self._cap = bytes_per_day
        self._day: int | None = None
        self._unix_s = 0.0
        self.used_bytes = 0

    @property
    def left_bytes(self) -> float:
        return math.inf if self._cap is None else max(self._cap - self.used_bytes, 0)

    @property
    def reached(self) -> bool:
        return self.left_bytes <= 0

    def at(self, unix_s: float) -> None:
        """What time it is: a new day begins with nothing used."""
        if not 0 <= unix_s < 1e12:  # also NaN
            return
        day = int(unix_s // DAY_S)
        if self._day is not None and day > self._day:
            self.used_bytes = 0
        self._day, self._unix_s = day, unix_s

    def spend(self, wire_bytes: int) -> None:
        self.used_bytes += wire_bytes

    def share_bytes(self, interval_s: float) -> float:
        """What one frame may cost, so that the day's rest lasts; no bound while it is far."""
        if self._cap is None or self.used_bytes < NEAR * self._cap:
            return math.inf
        rest_s = DAY_S - self._unix_s % DAY_S
        return self.left_bytes * min(interval_s / rest_s, 1.0)
