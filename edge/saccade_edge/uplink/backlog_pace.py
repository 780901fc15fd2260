"""How fast the backlog may go."""

from __future__ import annotations

import time


class BacklogPace:
    """So many bytes a second, 0: none; what has not been used for half a second is gone."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_s = time.monotonic()  # from when on it is paid for

    def allows(self) -> bool:
        """Whether something may go now."""
        return self._bytes_per_s > 0 and time.monotonic() >= self._free_s

    def went(self, size: int) -> None:
        """So many bytes did."""
        self._free_s = max(self._free_s, time.monotonic() - 0.5) + size / self._bytes_per_s

    def set(self, bytes_per_s: float) -> None:
        """From now on."""
        self._bytes_per_s = bytes_per_s

    def pause(self, pause_s: float) -> None:
        """Nothing goes for so long."""
        self._free_s = max(self._free_s, time.monotonic() + pause_s)
