"""The cloud's load: what answers wait for the engine, and how many frames edges may send for it.

Pure: no clock, no I/O; times are passed in, seconds of one monotonic clock. Only frames a minute
are bounded, not tokens a frame: edges ask about frames, so fewer frames are fewer answers, whatever
makes them slow. Down at once, to what the engine has shown that it serves; up one step at a time,
after the wait was short for a while.
"""

from __future__ import annotations

from collections import deque

STEPS = (1, 2, 4, 8, 15, 30, 60, 120)  # frames a minute of one edge, each about twice the last
WINDOW_S = 5.0  # over which what was served counts
DOWN_S = 2.0  # between two steps down: a bound needs time to be heard
UP_S = 3.0  # of short waits before each step up
SHORT = 0.5  # of the longest wait: below it there is room again
ASKED_S = 120.0  # who asked within it shares: twice the interval of the lowest bound
MOST_SERVED = 4096  # of the window, kept


class Load:
    """``longest_s``: what an answer may wait for its first token; 0 never bounds."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._waiting: dict[int, float] = {}  # question -> when it came, oldest first
        self._numbers = 0
        self._served: deque[tuple[float, float]] = deque(maxlen=MOST_SERVED)  # when, waited
        self._streams: dict[object, float] = {}  # -> when it last asked
        self._step = len(STEPS)  # no bound
        self._reason = ""
        self._changed_s = float("-inf")
        self._busy_s = float("-inf")  # when the wait was last not short

    def waits(self, now_s: float) -> int:
        """A question begins to wait; its number for ``begins`` and ``leaves``."""
        self._numbers += 1
        self._waiting[self._numbers] = now_s
        return self._numbers

    def begins(self, number: int, now_s: float) -> None:
        """Its first token is there. Later tokens change nothing."""
        since = self._waiting.pop(number, None)
        if since is not None:
            self._served.append((now_s, now_s - since))

    def leaves(self, number: int) -> None:
        """It ended, with or without an answer."""
        self._waiting.pop(number, None)

    def asked(self, stream: object, now_s: float) -> None:
        """``stream`` asks: it shares in the bound."""
        self._streams[stream] = now_s

    def ended(self, stream: object) -> None:
        self._streams.pop(stream, None)

    def wait_s(self, now_s: float) -> float:
        """The age of the oldest waiting question, or the mean of recent waits if that is more."""
        while self._served and self._served[0][0] < now_s - WINDOW_S:
            self._served.popleft()
        oldest = next(iter(self._waiting.values()), now_s)
        mean = sum(wait for _, wait in self._served) / max(1, len(self._served))
        return max(now_s - oldest, mean)

    def bound(self, stream: object, now_s: float) -> tuple[int, str]:
        """Frames a minute that ``stream`` may send, and why; 0 for no bound.

        Who has not asked for ``ASKED_S`` costs the engine nothing and is not bounded.
        """
        edges = sum(now_s - asked_s <= ASKED_S for asked_s in self._streams.values())
        self._update(edges, now_s)
        if now_s - self._streams.get(stream, float("-inf")) > ASKED_S:
            return 0, ""
        return (STEPS[self._step] if self._step < len(STEPS) else 0), self._reason

    def _update(self, edges: int, now_s: float) -> None:
        wait_s = self.wait_s(now_s)
        if self._longest_s <= 0:
            return
        if wait_s >= SHORT * self._longest_s:
            self._busy_s = now_s
        if wait_s > self._longest_s and edges and now_s - self._changed_s >= DOWN_S:
            self._move(self._lower(edges), wait_s, edges, now_s)
        elif now_s - max(self._busy_s, self._changed_s) >= UP_S and self._step < len(STEPS):
            self._move(self._step + 1, wait_s, edges, now_s)

    def _lower(self, edges: int) -> int:
        """At least one step down; to the edge's share of what was served, if that is known."""
        share = len(self._served) * 60.0 / WINDOW_S / edges
        fitting = [step for step, frames in enumerate(STEPS) if frames <= share]
        lower = self._step - 1
        if self._served:
            lower = min(lower, fitting[-1] if fitting else 0)
        return max(0, lower)

    def _move(self, step: int, wait_s: float, edges: int, now_s: float) -> None:
        if step == self._step:
            return
        self._step, self._changed_s = step, now_s
        plural = "edge" if edges == 1 else "edges"
        self._reason = f"answers wait {wait_s:.1f} s for the engine, {edges} {plural}"
