"""Time spent in named stages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from saccade.types import Timing


class Stopwatch:
    """Times stages in a ``with`` statement; an inner stage's time is not the outer one's."""

    def __init__(self) -> None:
        self.last = ""  # the stage that was entered last: where an error came from
        self._stages: dict[str, float] = {}
        self._running: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._charge()
        self._running.append(name)
        self.last = name
        self._stages.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def _charge(self) -> None:
        """Book the time since the last change on the innermost stage."""
        now = time.perf_counter()
        if self._running:
            self._stages[self._running[-1]] += (now - self._since) * 1e3
        self._since = now

    def timing(self) -> Timing:
        return Timing(dict(self._stages))
