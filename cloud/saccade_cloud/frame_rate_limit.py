"""Whether an edge keeps to the frames a minute that it was told: one that does not is refused.

An edge asks about its frames, and only those questions cost the engine anything. So what counts is
frames that are asked about, not packets: an edge sends its backlog while it is not bounded.
"""

from __future__ import annotations

from collections import deque

from saccade.errors import LimitExceeded
from saccade_cloud.quotas import Bucket

SLACK = 1.25  # clocks differ, and an edge keeps to its bound on an average
UNDER_WAY = 16  # frames that an edge may have sent before it heard of the bound
REMEMBERED = 128  # frames that were let through: later questions about them are, too


class FrameRateLimit:
    """Of one stream. Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._frames_per_minute = 0
        self._bucket = Bucket(1.0, 0.0, UNDER_WAY)
        self._known: deque[int] = deque(maxlen=REMEMBERED)

    def set(self, frames_per_minute: int, now_s: float) -> None:
        """The edge is told so; 0: any number."""
        if frames_per_minute:
            left = UNDER_WAY if not self._frames_per_minute else self._bucket.level(now_s)
            self._bucket = Bucket(SLACK * frames_per_minute / 60.0, now_s, UNDER_WAY)
            self._bucket.take(UNDER_WAY - left, now_s)
        self._frames_per_minute = frames_per_minute

    def check(self, sequence: int, now_s: float) -> None:
        """A question about a frame. Raises ``LimitExceeded`` where it is one frame too many."""
        if sequence in self._known:
            return
        if self._frames_per_minute:
            if self._bucket.level(now_s) < 1:
                raise LimitExceeded(
                    f"frame {sequence} is one more than the {self._frames_per_minute} frames a "
                    "minute that the cloud takes"
                )
            self._bucket.take(1, now_s)
        self._known.append(sequence)
