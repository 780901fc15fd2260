"""The cloud's own bound, from its load."""

from __future__ import annotations

# Of the cloud's words: they end in a one-line reason.
MOST_WORDS = 80


class CloudBound:
    """Of the frames a minute. ``reason``: the cloud's words, one line.

    All edges of a full cloud hear of its bounds at about the same time. They are to send one after
    the other all the same: the first frame goes after a part of the interval that chance chooses,
    and when the interval changes, what is left of it is stretched or shrunk with it.
    """

    def __init__(self) -> None:
        self.reason = ""
        self._interval_s = 0.0
        self._stretch = 1.0  # of what is left until the next frame
        self._phase = 0.0
        self._next_s: float | None = None

    def set(self, frames_per_minute: int, reason: str, phase: float = 0.0) -> None:
        """As the cloud's message says it: 0 does not bind. ``phase``: the part of the interval
        until the first frame.
        """
        interval_s = 60.0 / frames_per_minute if frames_per_minute > 0 else 0.0
        if interval_s and self._interval_s:
            self._stretch *= interval_s / self._interval_s
        else:
            self._phase = phase
            self.restart()
        self._interval_s = interval_s
        self.reason = " ".join(reason.split())[:MOST_WORDS]

    @property
    def frames_per_minute(self) -> float | None:
        return 60.0 / self._interval_s if self._interval_s else None

    def takes_frame(self, now_s: float) -> bool:
        if not self._interval_s:
            return True
        if self._next_s is None:
            self._next_s = now_s + self._phase * self._interval_s
        elif self._stretch != 1.0:
            self._next_s = now_s + max(self._next_s - now_s, 0.0) * self._stretch
        self._stretch = 1.0
        return now_s >= self._next_s

    def sent(self, now_s: float) -> None:
        """A live frame. Its successor's time does not slip where this one was a little late."""
        if self._interval_s:
            due_s = now_s if self._next_s is None else self._next_s
            self._next_s = max(due_s, now_s - self._interval_s) + self._interval_s

    def restart(self) -> None:
        """The clock is another; the bound stays."""
        self._next_s, self._stretch = None, 1.0
