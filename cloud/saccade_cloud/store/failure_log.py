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
        self._logged = ""
        self._logged_s = 0.0
        self._unlogged = 0

    def failed(self, why: str) -> None:
        """Something was not stored, or not read."""
        with self._guard:
            now_s = self._clock()
            if why == self._logged and now_s < self._logged_s + AGAIN_S:
                self._unlogged += 1
                return
            more = f" ({self._unlogged} more failures since)" if self._unlogged else ""
            self._logged, self._logged_s, self._unlogged = why, now_s, 0
        log.error("the store fails: %s%s", why, more)

    def worked(self) -> None:
        """Something was stored."""
        if not self._logged:
            return
        with self._guard:
            before, unlogged = self._logged, self._unlogged
            self._logged, self._unlogged = "", 0
        if before:
            log.warning("the store works again; %d more failures of: %s", unlogged, before)
