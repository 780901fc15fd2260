"""The thread that looks for damaged pages while the spool is in use.

Pages that the writer has in its cache are not read again for as long as it lives: a card that
garbles them would be noticed at the next start, when what was kept is gone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

EVERY_S = 30.0
SHARE = 0.01  # of the time, at most, so that a large spool is read more rarely


class Examiner:
    """``examine`` is called in a thread of its own, from time to time, until ``close``."""

    def __init__(self, examine: Callable[[], None], every_s: float = EVERY_S) -> None:
        self._examine = examine
        self._every_s = every_s
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="saccade-examine", daemon=True).start()

    def close(self) -> None:
        """Begin no further look; one that is under way is not waited for."""
        self._closed.set()

    def _run(self) -> None:
        pause_s = self._every_s
        while not self._closed.wait(pause_s):
            started = time.monotonic()
            self._examine()
            pause_s = max(self._every_s, (time.monotonic() - started) / SHARE)
