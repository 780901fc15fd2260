"""One process writes to a spool."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path

from saccade.errors import ConfigError
from saccade.files import check_ours, head
from saccade.open_files import inode_of
from saccade_edge.spool.spool_faults import FileLost

log = logging.getLogger(__name__)

MARK = b"lock of a Saccade spool\n"


class Lock:
    """Held until ``release`` or the process's end, however it ends.

    A file of its own: SQLite's locks on the database are lost when any descriptor of it is closed
    (sqlite.org/howtocorrupt.html, 2.2), and readers shall not be kept out.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where another process has it, ``OSError`` for the disk's."""
        self._path = path
        self._file = _beside(path)
        self._folder = inode_of(path.parent)
        check_ours(self._file, "the spool's lock", (MARK,))
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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

    def check(self) -> None:
        """Once its file was deleted or replaced, another process could get in beside us: take it
        anew. Raises ``FileLost`` where somebody else has it by now, or where that cannot be done.
        """
        if self._is_ours():
            return
        if inode_of(self._path.parent) != self._folder:
            raise FileLost(f"{self._path.parent} is gone, or another folder, while in use")
        try:
            again = Lock(self._path)
        except (ConfigError, OSError) as error:
            raise FileLost(f"{self._file} was deleted or replaced while in use: {error}") from error
        os.close(self._descriptor)
        self._descriptor = again._descriptor
        log.warning("%s was deleted or replaced while in use: it was locked anew", self._file)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        os.close(self._descriptor)


def was_locked(path: Path) -> bool:
    """Whether an edge has had its spool at ``path``: whatever is there now, it was a spool."""
    file = _beside(path)
    return check_ours(file, "the spool's lock", (MARK,)) and head(file, len(MARK)) == MARK


def _beside(path: Path) -> Path:
    return Path(f"{path}.lock")
