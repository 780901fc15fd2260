"""One process writes to a spool."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from saccade.errors import ConfigError
from saccade.files import check_ours, head

MARK = b"lock of a Saccade spool\n"


class Lock:
    """Held until ``release`` or the process's end, however it ends.

    A file of its own: SQLite's locks on the database are lost when any descriptor of it is closed
    (sqlite.org/howtocorrupt.html, 2.2), and readers shall not be kept out.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where another process has it, ``OSError`` for the disk's."""
        file = _beside(path)
        check_ours(file, "the spool's lock", (MARK,))
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(
                f"the spool {path} is in use by another process: give each edge one of its own"
            ) from None
        if os.fstat(self._descriptor).st_size == 0:
            with suppress(OSError):  # on a full disk: without it a lock locks all the same
                os.write(self._descriptor, MARK)

    def release(self) -> None:
        os.close(self._descriptor)


def was_locked(path: Path) -> bool:
    """Whether an edge has had its spool at ``path``: whatever is there now, it was a spool."""
    file = _beside(path)
    return check_ours(file, "the spool's lock", (MARK,)) and head(file, len(MARK)) == MARK


def _beside(path: Path) -> Path:
    return Path(f"{path}.lock")
