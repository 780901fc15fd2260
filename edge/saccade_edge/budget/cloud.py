"""The cloud's own bound, from its load."""

from __future__ import annotations

# Of the cloud's words: they end in a one-line reason.
MOST_WORDS = 80


class CloudBound:
    """``tokens_per_frame``: None: no bound; ``reason``: the cloud's words, one line."""

    def __init__(self) -> None:
        self.tokens_per_frame: int | None = None
        self.reason = ""
        self._interval_s = 0.0
        self._next_s: float | None = None

    def set(self, tokens_per_frame: int, frames_per_minute: int, reason: str) -> None:
        """As the cloud's message says it: 0 does not bind."""
        self.tokens_per_frame = tokens_per_frame if tokens_per_frame > 0 else None
        self._interval_s = 60.0 / frames_per_minute if frames_per_minute > 0 else 0.0
        self.reason = " ".join(reason.split())[:MOST_WORDS]
        self._next_s = None

    @property
    def frames_per_minute(self) -> float | None:
        return 60.0 / self._interval_s if self._interval_s else None

    def takes_frame(self, now_s: float) -> bool:
        return self._next_s is None or now_s >= self._next_s

    def sent(self, now_s: float) -> None:
        """A live frame. Its successor's time does not slip where this one was a little late."""
        if self._interval_s:
            due_s = now_s if self._next_s is None else self._next_s
            self._next_s = max(due_s, now_s - self._interval_s) + self._interval_s

    def restart(self) -> None:
        """The clock is another; the bound stays."""
        self._next_s = None
