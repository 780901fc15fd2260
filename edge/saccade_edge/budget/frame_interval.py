"""How often frames come."""

from __future__ import annotations

WEIGHT = 0.2
# A pause says nothing of the next frame, and frames that come together are one burst.
BOUNDS_S = (0.01, 1.0)


class FrameInterval:
    """The smoothed interval between frames, seconds."""

    def __init__(self, usual_s: float) -> None:
        least, most = BOUNDS_S
        self._interval_s = min(max(usual_s, least), most)
        self._last_s: float | None = None

    @property
    def interval_s(self) -> float:
        return max(self._interval_s, BOUNDS_S[0])

    def tick(self, now_s: float) -> None:
        """A frame."""
        if self._last_s is not None:
            gap_s = min(max(now_s - self._last_s, 0.0), BOUNDS_S[1])
            self._interval_s += WEIGHT * (gap_s - self._interval_s)
        self._last_s = now_s
