"""One process writes to a spool."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from saccade.errors import ConfigError


class Lock:
    """Held until ``release`` or the process's end, however it ends.

    A file of its own: SQLite's locks on the database are lost when any descriptor of it is closed
    (sqlite.org/howtocorrupt.html, 2.2), and readers shall not be kept out.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where another process has it, ``OSError`` for the disk's."""
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(
                f"the spool {path} is in use by another process: give each edge one of its own"
            ) from None

    def release(self) -> None:
        os.close(self._descriptor)
