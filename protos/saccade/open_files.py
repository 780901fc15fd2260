"""Whether the files of an open SQLite database are still those that were opened.

SQLite in write-ahead mode goes on committing to a file that was deleted or replaced: commits end
well, and all is gone at the next start (sqlite.org/howtocorrupt.html, section 4). So whoever
promises that a row is on the disk compares before and after each commit what the names stand for.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

# The database, its log and the index of the log: SQLite deletes the last two only when the last
# connection is closed.
SQLITE_FILES = ("", "-wal", "-shm")


class OpenFiles:
    """Of the database at ``path``, while ``connection`` to it is open. Some microseconds a look.

    Any thread may look: those that store, and those that examine.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Raises ``sqlite3.Error`` and ``OSError``."""
        # Two threads in one statement of a connection take each other's row away.
        self._guard = threading.Lock()
        self._connection = connection
        self._page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        names = [f"{path}{suffix}" for suffix in SQLITE_FILES]
        self._opened = {name: known for name in names if (known := inode_of(Path(name)))}
        self._path = str(path)
        self._size = os.stat(path).st_size
        self._pages = self._count_pages()
        self.last_trouble = ""  # what the last look found

    def trouble(self) -> str:
        """What happened to one of the files; empty where nothing did. Raises ``sqlite3.Error``."""
        with self._guard:
            self.last_trouble = trouble = self._trouble()
        return trouble

    def _trouble(self) -> str:
        for name, identity in self._opened.items():
            try:
                found = os.stat(name)
            except OSError as error:
                return f"{name} is gone while it is in use ({error.strerror})"
            if _inode(found) != identity:
                return f"{name} was replaced by another file while it is in use"
            if name == self._path and self._was_cut(found.st_size):
                return f"{name} was cut to {found.st_size} bytes while it is in use"
        return ""

    def holds(self, path: Path) -> bool:
        """Whether ``path`` is still the file that was opened under this name."""
        return self._opened.get(str(path)) == inode_of(path)

    def _was_cut(self, size: int) -> bool:
        """A file that SQLite itself makes shorter keeps the pages that the database has."""
        pages = self._count_pages()
        if size < self._size and size < min(pages, self._pages) * self._page_bytes:
            return True
        self._size, self._pages = size, pages
        return False

    def _count_pages(self) -> int:
        return int(self._connection.execute("PRAGMA page_count").fetchone()[0])


def inode_of(path: Path) -> tuple[int, int] | None:
    """Which file or folder has this name now; None where there is none."""
    try:
        return _inode(os.stat(path))
    except OSError:
        return None


def damage_of(path: Path, busy_s: float) -> str:
    """What SQLite's own check of all pages finds; empty where they are whole.

    Reads the whole database past the caches of other connections: about a second for each gigabyte
    that the system has in memory. Raises ``sqlite3.Error`` where it cannot be read at all.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"  # one that is gone is not made anew
    with closing(sqlite3.connect(uri, uri=True, timeout=busy_s)) as connection:
        said: Sequence[object] = connection.execute("PRAGMA quick_check(1)").fetchone()
    return "" if said[0] == "ok" else " ".join(str(said[0]).split())


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
