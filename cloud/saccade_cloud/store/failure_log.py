"""A store's failures in the log: the first at once, further ones counted, recovery too."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

AGAIN_S = 60.0  # a store that is out of order says so once a minute, not with every packet


class FailureLog:
    """Of one store; used from its threads and from the event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._said = ""
        self._said_s = 0.0
        self._unsaid = 0

    def failed(self, why: str) -> None:
        """Something was not stored, or not read."""
        with self._guard:
            now_s = self._clock()
            if why == self._said and now_s < self._said_s + AGAIN_S:
                self._unsaid += 1
                return
            more = f" ({self._unsaid} more failures since)" if self._unsaid else ""
            self._said, self._said_s, self._unsaid = why, now_s, 0
        log.error("the store fails: %s%s", why, more)

    def worked(self) -> None:
        """Something was stored."""
        if not self._said:
            return
        with self._guard:
            before, unsaid = self._said, self._unsaid
            self._said, self._unsaid = "", 0
        if before:
            log.warning("the store works again; %d more failures of: %s", unsaid, before)
