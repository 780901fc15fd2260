"""The spool's tables, and the settings of SQLite that make a commit durable."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from saccade.errors import ConfigError
from saccade.sqlite_files import SPOOL_ID, Format, check_sqlite, mark

VERSION = "1"
FORMAT = Format(
    what="the spool",
    application_id=SPOOL_ID,
    newest=int(VERSION),
    version="SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'version'",
    tables={
        "meta": ("key", "value"),
        "counter": ("name", "packets"),
        "packet": (
            *("sequence", "camera", "captured_unix_ms", "deadline_unix_ms"),
            *("bundle", "bytes", "crc32c", "packet", "questions"),
        ),
    },
)
_NOTE = "note "
BUSY_S = 0.5  # somebody who looks into the spool with a tool of theirs may hold it for a moment

_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, packets INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS packet (
  sequence INTEGER PRIMARY KEY,
  camera INTEGER NOT NULL,
  captured_unix_ms INTEGER NOT NULL,
  deadline_unix_ms INTEGER NOT NULL,
  bundle INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  crc32c INTEGER NOT NULL,
  packet BLOB NOT NULL,
  questions TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS packet_order ON packet (sequence, bundle, bytes);
CREATE INDEX IF NOT EXISTS packet_captured ON packet (captured_unix_ms);
"""


def connect(path: Path) -> sqlite3.Connection:
    """The database at ``path``, made if it is not there; that it is ours has been checked.

    Raises ``sqlite3.Error``, ``OSError``.
    """
    new = not path.exists()
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        os.chmod(path, 0o600)  # tokens are personal data like the picture they came from
        mark(connection, SPOOL_ID)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut
        connection.execute("PRAGMA secure_delete = FAST")
        connection.execute("PRAGMA journal_size_limit = 8388608")
        # The log is copied back at 1 MB, not at 4: that much stays behind on a full disk.
        connection.execute("PRAGMA wal_autocheckpoint = 256")
        connection.executescript(_TABLES)
        if new:
            _sync_folder(path.parent)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """To look into a spool, also while an edge writes to it. Raises ``ConfigError``."""
    if not check_sqlite(path, FORMAT):
        raise ConfigError(f"there is no spool at {path}")
    # On a read-only disk SQLite cannot share a log; where there is none, nothing can change.
    modes = ("mode=ro",) if Path(f"{path}-wal").exists() else ("mode=ro", "immutable=1")
    errors = []
    for mode in modes:
        uri = f"{path.absolute().as_uri()}?{mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
        error = _failure(connection)
        if error is None:
            return connection
        connection.close()
        errors.append(error)
    raise ConfigError(f"{path} is no spool, or one that cannot be read: {errors[0]}")


def _failure(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """Why a spool cannot be read."""
    try:
        connection.execute("SELECT value FROM meta").fetchone()
    except sqlite3.Error as error:
        return error
    return None


def read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    """All of it. Raises ``ConfigError`` where another version of this program wrote it."""
    meta = {str(key): str(value) for key, value in connection.execute("SELECT * FROM meta")}
    version = meta.get("version", VERSION)
    if version != VERSION:
        raise ConfigError(f"the spool has format {version}, this edge writes {VERSION}")
    return meta


def write_meta(connection: sqlite3.Connection, **values: str | int) -> None:
    """Set some of it."""
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [(key, str(value)) for key, value in values.items()],
    )


def read_notes(meta: Mapping[str, str]) -> dict[str, str]:
    """What others keep in the meta table, by their names."""
    return {key[len(_NOTE) :]: text for key, text in meta.items() if key.startswith(_NOTE)}


def write_notes(connection: sqlite3.Connection, notes: Mapping[str, str]) -> None:
    """Set some of them."""
    write_meta(connection, **{_NOTE + name: text for name, text in notes.items()})


def read_counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Packets by counter."""
    return {str(name): int(n) for name, n in connection.execute("SELECT * FROM counter")}


def write_counts(connection: sqlite3.Connection, counts: Mapping[str, int]) -> None:
    """Set some of them."""
    connection.executemany(
        "INSERT INTO counter VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET packets = excluded.packets",
        list(counts.items()),
    )


def names_of(text: str | None) -> tuple[str, ...]:
    """A list of names as it stands in the meta table."""
    return tuple(str(name) for name in json.loads(text or "[]"))


def _sync_folder(folder: Path) -> None:
    """A file is durable once its name is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
