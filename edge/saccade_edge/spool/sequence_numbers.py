"""The numbers of packets and questions: never one twice, also across restarts."""

from __future__ import annotations

import math
import threading


class Numbers:
    """Ascending from ``last`` + 1, in any thread; ``reserved`` is the last that is safe to give."""

    def __init__(self, last: int, reserved: float) -> None:
        self._lock = threading.Lock()
        self.given = last
        self.reserved = reserved

    def next(self) -> int:
        with self._lock:
            self.given += 1
            return self.given

    @property
    def exhausted(self) -> bool:
        """Whether one was given that a restart could give again."""
        return self.given > self.reserved

    def free(self) -> None:
        """Under a new boot every number is new."""
        self.reserved = math.inf
