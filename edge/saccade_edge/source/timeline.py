"""Capture times: from a recording's time stamps, and from the clock when a camera's frame arrives.

A recording's time stamps come from outside and may be anything: two recordings in one file begin at
zero twice, a counter wraps, one value is hours off, values are missing or all the same. `Timeline`
makes a time of them that always advances and never leaves a frame out:

- an ordinary step ahead, up to ten seconds or like the one before, counts as it is;
- a stamp that the frames after it do not confirm, or that is missing, counts as one frame interval;
- a gap that the next frame confirms counts as it is, up to a day;
- a step back, or one of more than a day, joins the two parts with one frame interval between them.

A camera's time stamps are not used at all.
"""

from __future__ import annotations

import time
from fractions import Fraction

# Longer steps need the next frame's word. A pause of so long is rare within one recording.
MAX_STEP_S = 10.0
# No recording pauses longer; a counter that was set anew may step by years.
MAX_GAP_S = 86_400.0
# Stamps closer than this (10,000 frames a second) do not tell two frames apart.
MIN_STEP_S = 1e-4
# Where a recording does not say how many frames a second it has. Common for cameras in Europe.
USUAL_INTERVAL_S = 1 / 25
# Rounded time stamps count as due.
ROUNDING_S = 1e-6


class Timeline:
    """Seconds since a recording's first frame. ``interval_s``: from frame to frame, as the
    container says, until the stamps say better; a value that cannot be is replaced.
    """

    def __init__(self, interval_s: float | None = None) -> None:
        known = interval_s is not None and MIN_STEP_S <= interval_s <= MAX_STEP_S
        self._interval_s = interval_s if known and interval_s is not None else USUAL_INTERVAL_S
        self._time_s = -self._interval_s  # the first frame is one interval later: at zero
        self._last: Fraction | None = None  # the newest stamp that was believed
        self._last_time_s = 0.0  # the time that belongs to it
        self._since = 0  # frames since it
        self._step_s = 0.0  # between it and the one before
        self.jumps = 0  # how often two parts were joined

    def place(self, stamp: Fraction | None, following: Fraction | None = None) -> float:
        """The frame's time. ``stamp``: its time stamp in seconds; ``following``: that of the frame
        after it. None: it has none, or is not known.
        """
        self._since += 1
        if stamp is None:
            return self._pass_over()
        if self._last is None:
            return self._join(stamp)
        step_s = float(stamp - self._last)
        if abs(step_s) < MIN_STEP_S:
            return self._pass_over()
        if 0 < step_s <= MAX_STEP_S:
            self._interval_s = max(MIN_STEP_S, step_s / self._since)
            return self._advance(stamp, step_s)
        if 0 < step_s <= 2 * self._step_s:  # a picture a minute, or an hour
            return self._advance(stamp, step_s)
        if following is not None and 0 < following - self._last <= MAX_STEP_S:
            return self._pass_over()
        if 0 < step_s <= MAX_GAP_S and following is not None and following >= stamp:
            return self._advance(stamp, step_s)
        self.jumps += 1
        return self._join(stamp)

    def _pass_over(self) -> float:
        """Say nothing about the frame's stamp: it comes one interval after the one before."""
        self._time_s += self._interval_s
        return self._time_s

    def _join(self, stamp: Fraction) -> float:
        """Begin a part at ``stamp``, one interval after the part before."""
        self._pass_over()
        self._last, self._last_time_s = stamp, self._time_s
        self._since, self._step_s = 0, 0.0
        return self._time_s

    def _advance(self, stamp: Fraction, step_s: float) -> float:
        self._last, self._since, self._step_s = stamp, 0, step_s
        self._last_time_s += step_s
        # Frames without a stamp may have taken more time than was between their neighbours.
        self._time_s = max(self._time_s + MIN_STEP_S, self._last_time_s)
        return self._time_s


class Sampler:
    """Which frames to take so that ``fps`` come per second in the mean; None: every one.

    ``early``: the part of an interval by which a frame may come before it is due. A camera's frames
    arrive a little early or late, and at its own rate each of them is wanted.
    """

    def __init__(self, fps: float | None, early: float = 0.0) -> None:
        self._interval_s = 1 / fps if fps else 0.0
        self._early_s = self._interval_s * early + ROUNDING_S
        self._due_s = -float("inf")

    def takes(self, time_s: float) -> bool:
        """Whether to take the frame of ``time_s``, on a clock that never goes back."""
        if time_s < self._due_s - self._early_s:
            return False
        next_s = self._due_s + self._interval_s
        # After a gap nothing is made up for.
        self._due_s = next_s if next_s > time_s else time_s + self._interval_s
        return True


class ArrivalClock:
    """Unix time that never goes back, although the system's clock may be set back.

    After that it runs at half the speed until the system's clock has caught up.
    """

    def __init__(self) -> None:
        self._newest_ns = 0
        self._read_ns = time.monotonic_ns()

    def now_ns(self) -> int:
        now_ns = time.monotonic_ns()
        slow_ns = self._newest_ns + (now_ns - self._read_ns) // 2
        self._newest_ns, self._read_ns = max(time.time_ns(), slow_ns), now_ns
        return self._newest_ns
