"""A camera's bytes of a UTC day."""

from __future__ import annotations

import math

DAY_S = 86_400
# From here on what is left is shared out over what is left of the day.
NEAR = 0.8
# A clock that is set back and forth finds what was counted on so many days.
DAYS_KEPT = 4


class DailyCap:
    """Counts also where there is no cap (None)."""

    def __init__(self, bytes_per_day: int | None) -> None:
        self._cap = bytes_per_day
        self._unix_s = 0.0
        self._used: dict[int, int] = {0: 0}  # by day since 1970

    @property
    def used_bytes(self) -> int:
        """Today."""
        return self._used[self.day]

    @property
    def day(self) -> int:
        """Today, counted from 1970, UTC."""
        return int(self._unix_s // DAY_S)

    @property
    def left_bytes(self) -> float:
        return math.inf if self._cap is None else max(self._cap - self.used_bytes, 0)

    @property
    def reached(self) -> bool:
        return self.left_bytes <= 0

    def at(self, unix_s: float) -> None:
        """What time it is; what cannot be a time counts as the last one."""
        if not 0 <= unix_s < 1e12:  # also NaN
            return
        self._unix_s = unix_s
        self._used.setdefault(self.day, 0)
        while len(self._used) > DAYS_KEPT:
            del self._used[next(day for day in self._used if day != self.day)]

    def restore(self, day: int, used_bytes: int) -> None:
        """What was counted elsewhere; a day that is long gone is dropped again by ``at``."""
        self._used[day] = self._used.get(day, 0) + used_bytes

    def spend(self, wire_bytes: int) -> None:
        self._used[self.day] += wire_bytes

    def share_bytes(self, interval_s: float) -> float:
        """What one frame may cost, so that the day's rest lasts; no bound while the cap is far."""
        if self._cap is None or self.used_bytes < NEAR * self._cap:
            return math.inf
        rest_s = DAY_S - self._unix_s % DAY_S
        return self.left_bytes * min(interval_s / rest_s, 1.0)
