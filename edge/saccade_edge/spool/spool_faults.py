"""What went wrong with the disk, by the names of the counters."""

from __future__ import annotations

import errno
import sqlite3

from saccade.errors import ConfigError
from saccade_edge.spool.spool_types import Fate

# SQLite's own words (sqlite3_errstr): Python 3.10 does not hand out its codes.
_WORDS = (
    ("full", Fate.DISK_FULL),
    ("readonly", Fate.READ_ONLY),
    ("locked", Fate.LOCKED),
    ("malformed", Fate.CORRUPT),
    ("not a database", Fate.CORRUPT),
)
_NUMBERS = {
    errno.ENOSPC: Fate.DISK_FULL,
    errno.EDQUOT: Fate.DISK_FULL,
    errno.EROFS: Fate.READ_ONLY,
    errno.EIO: Fate.IO_ERROR,
}


class FileLost(OSError):
    """The spool's file, or what belongs to it, is not what was opened any more."""


class SpoolFault(Exception):
    """The disk does not serve. Stays on this side: the daemon goes on without it."""

    def __init__(self, fate: Fate, detail: str) -> None:
        super().__init__(detail)
        self.fate = fate
        self.detail = detail


def fault_of(error: sqlite3.Error | OSError) -> SpoolFault:
    """The error by its counter's name; one that is not known is an input/output error."""
    if isinstance(error, FileLost):
        return SpoolFault(Fate.LOST, str(error))
    if isinstance(error, OSError):
        return SpoolFault(_NUMBERS.get(error.errno or 0, Fate.IO_ERROR), str(error))
    text = str(error)
    fate = next((fate for word, fate in _WORDS if word in text), Fate.IO_ERROR)
    return SpoolFault(fate, text)


def at_opening(error: OSError) -> SpoolFault | ConfigError:
    """A disk in trouble passes, a path that cannot be is a wrong setting."""
    if error.errno in _NUMBERS:
        return fault_of(error)
    return ConfigError(f"the spool cannot be opened: {error}")
