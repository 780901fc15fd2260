"""Whether the files of an open SQLite database are still those that were opened.

SQLite in write-ahead mode goes on committing to a file that was deleted or replaced: commits end
well, and all is gone at the next start (sqlite.org/howtocorrupt.html, section 4). So whoever
promises that a row is on the disk compares before and after each commit what the names stand for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

# The database, its log and the index of the log: SQLite deletes the last two only when the last
# connection is closed.
SQLITE_FILES = ("", "-wal", "-shm")


class OpenFiles:
    """Of the database at ``path``, while ``connection`` to it is open. Some microseconds a look."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Raises ``sqlite3.Error`` and ``OSError``."""
        self._connection = connection
        self._page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        names = [f"{path}{suffix}" for suffix in SQLITE_FILES]
        self._opened = {name: _identity(os.stat(name)) for name in names if os.path.exists(name)}
        self._path = str(path)
        self._size = os.stat(path).st_size
        self._pages = self._count_pages()

    def trouble(self) -> str:
        """What happened to one of the files, as a sentence's end; empty where nothing did."""
        for name, identity in self._opened.items():
            try:
                found = os.stat(name)
            except OSError as error:
                return f"{name} is gone while it is in use ({error.strerror})"
            if _identity(found) != identity:
                return f"{name} was replaced by another file while it is in use"
            if name == self._path and self._was_cut(found.st_size):
                return f"{name} was cut to {found.st_size} bytes while it is in use"
        return ""

    def _was_cut(self, size: int) -> bool:
        """A file that SQLite itself makes shorter keeps the pages that the database has."""
        pages = self._count_pages()
        if size < self._size and size < min(pages, self._pages) * self._page_bytes:
            return True
        self._size, self._pages = size, pages
        return False

    def _count_pages(self) -> int:
        return int(self._connection.execute("PRAGMA page_count").fetchone()[0])


def looks_damaged(connection: sqlite3.Connection) -> str:
    """What SQLite's own check of all pages finds; empty where they are whole.

    Reads the whole database: about a second for each gigabyte in the page cache. Raises
    ``sqlite3.Error`` where it cannot be read at all.
    """
    said: Sequence[object] = connection.execute("PRAGMA quick_check(1)").fetchone()
    return "" if said[0] == "ok" else " ".join(str(said[0]).split())


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
