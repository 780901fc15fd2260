"""The emulated link's own time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from saccade.errors import ConfigError

MAX_SPEED = 1000.0


class Clock:
    """Link seconds: from ``start_s`` when it is made, each ``1 / speed`` seconds long on the wall.

    Needs a running loop. Its grain is the loop's, a millisecond or so of the wall, hence
    ``speed`` milliseconds of the link.
    """

    def __init__(self, speed: float = 1.0, start_s: float = 0.0) -> None:
        if not 0 < speed <= MAX_SPEED:
            raise ConfigError(f"a speed of {speed:g}: more than 0, at most {MAX_SPEED:g}")
        if not 0 <= start_s < math.inf:
            raise ConfigError(f"a start at {start_s:g} s: from 0 on")
        self.speed = speed
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time() - start_s / speed

    def now(self) -> float:
        return (self._loop.time() - self._began) * self.speed

    def at(self, moment_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call at a moment of the link, not before."""
        return self._loop.call_at(self._began + moment_s / self.speed, call)

    async def until(self, moment_s: float) -> None:
        come = asyncio.Event()
        timer = self.at(moment_s, come.set)
        try:
            await come.wait()
        finally:
            timer.cancel()
