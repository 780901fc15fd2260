"""One process writes to a spool."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from saccade.errors import ConfigError
from saccade.open_files import inode_of
from saccade_edge.spool.faults import FileLost

log = logging.getLogger(__name__)


class Lock:
    """Held until ``release`` or the process's end, however it ends.

    A file of its own: SQLite's locks on the database are lost when any descriptor of it is closed
    (sqlite.org/howtocorrupt.html, 2.2), and readers shall not be kept out.
    """

    def __init__(self, path: Path) -> None:
        """Raises ``ConfigError`` where another process has it, ``OSError`` for the disk's."""
        self._path = path
        self._name = f"{path}.lock"
        self._folder = inode_of(path.parent)
        self._descriptor = os.open(self._name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise ConfigError(
                f"the spool {path} is in use by another process: give each edge one of its own"
            ) from None

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
            raise FileLost(f"{self._name} was deleted or replaced while in use: {error}") from error
        os.close(self._descriptor)
        self._descriptor = again._descriptor
        log.warning("%s was deleted or replaced while in use: it was locked anew", self._name)

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._name), os.fstat(self._descriptor))
        except OSError:
            return False

    def release(self) -> None:
        os.close(self._descriptor)
