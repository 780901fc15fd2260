"""Files that may be replaced while the cloud runs: certificates, keys, tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from saccade.errors import ConfigError

log = logging.getLogger(__name__)

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int] | None, ...]


class ReloadedFiles(Generic[T]):
    """What ``read`` makes of ``paths``, made anew when one of them changes.

    What cannot be used is said once in the log, and what was there before stays: a renewal that
    is half way through, or has gone wrong, ends nobody's service. ``read`` raises ``ConfigError``,
    and so does making this. Used from one thread at a time.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], T]) -> None:
        self._paths = paths
        self._read = read
        self._stamp = _stamp(paths)
        self._value = read()

    @property
    def value(self) -> T:
        """As the files were last usable."""
        self.renewed()
        return self._value

    def renewed(self) -> T | None:
        """The new value, if the files have changed since they were last looked at."""
        stamp = _stamp(self._paths)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            value = self._read()
        except ConfigError as error:
            log.warning("what was read before is still used: %s", error)
            return None
        if _stamp(self._paths) != stamp:
            self._stamp = ()  # written while it was read: look again
            return None
        self._value = value
        return value


def _stamp(paths: Sequence[Path]) -> Stamp:
    """Inode, size and time of each file; None for one that is not there."""
    return tuple(_stamp_of(path) for path in paths)


def _stamp_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
