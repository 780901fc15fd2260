"""SQLite files that are ours: told apart from others' before SQLite opens them for writing.

SQLite itself would change the mode of a foreign database to WAL, and make files beside it. So its
header is read as bytes (sqlite.org/fileformat2.html), and tables through ``immutable=1``, which
touches nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from saccade.errors import ConfigError
from saccade.files import head, look

MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
# Files that SQLite keeps beside a database, and how they begin.
_BESIDE: Mapping[str, tuple[bytes, ...]] = {
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    "-journal": (b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",),
    "-shm": (),
}
SPOOL_ID = int.from_bytes(b"SaSp", "big")
STORE_ID = int.from_bytes(b"SaSt", "big")
_NAMES: Mapping[int, str] = {SPOOL_ID: "an edge's spool", STORE_ID: "a cloud's store"}


@dataclass(frozen=True, slots=True)
class Format:
    """``application_id`` marks our files. ``tables``: columns by table of those that were written
    before there was a mark. ``version``: the SQL that gives a file's version, as a number.
    """

    what: str
    application_id: int
    newest: int
    version: str
    tables: Mapping[str, Collection[str]]


def check_sqlite(path: Path, form: Format, *, known: bool = False) -> bool:
    """Whether a file is there. ``known``: that it is ours, whatever is in it, is known otherwise.

    Raises ``ConfigError`` for what is not ours or has a newer version, ``OSError``. A file of ours
    whose pages are damaged passes: its owner finds out.
    """
    found = look(path, form.what)
    _check_beside(path, form.what)
    if found is None:
        return False
    if not found.st_size:
        return True
    begin = head(path, HEADER_BYTES)
    if not begin.startswith(MAGIC) or len(begin) < HEADER_BYTES:
        if known:
            return True
        raise ConfigError(f"{form.what} {path} is another program's file: name another")
    marked = int.from_bytes(begin[68:72], "big")
    if marked not in (0, form.application_id):
        whose = _NAMES.get(marked, "another program's database")
        raise ConfigError(f"{form.what} {path} is {whose}: name another")
    tables, version = _inside(path, form)
    if not marked and not known and not _written_before_marks(tables, form):
        raise ConfigError(f"{form.what} {path} is another program's database: name another")
    if version > form.newest:
        raise ConfigError(
            f"{form.what} {path} has schema {version} and this Saccade knows {form.newest}: "
            "a newer one wrote it, and only such a one may open it"
        )
    return True


def _check_beside(path: Path, what: str) -> None:
    """SQLite deletes a journal that it cannot read, and takes a log for its own."""
    for suffix, begins in _BESIDE.items():
        beside = Path(f"{path}{suffix}")
        if look(beside, f"{what}'s {suffix[1:]} file") and begins:
            begin = head(beside, 8)
            if begin.strip(b"\0") and not begin.startswith(begins):
                raise ConfigError(
                    f"{what} {path} needs {beside}, and that is another program's file"
                )


def mark(connection: sqlite3.Connection, application_id: int) -> None:
    """Say whose it is. Before it is turned to WAL, so that the header has it at once."""
    if connection.execute("PRAGMA application_id").fetchone() != (application_id,):
        connection.execute(f"PRAGMA application_id = {application_id}")


def _inside(path: Path, form: Format) -> tuple[dict[str, set[str]], int]:
    """Columns by table, and the version; what cannot be read is not there."""
    tables: dict[str, set[str]] = {}
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for [name] in names.fetchall():
                columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
                tables[str(name)] = {str(column) for [column] in columns}
            row = connection.execute(form.version).fetchone()
            return tables, int(row[0] or 0) if row else 0
    except (sqlite3.Error, ValueError):
        return tables, 0


def _written_before_marks(tables: Mapping[str, Collection[str]], form: Format) -> bool:
    return all(set(columns) == tables.get(name) for name, columns in form.tables.items())
