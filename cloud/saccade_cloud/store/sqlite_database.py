"""SQLite: one file, write-ahead log, every commit on the disk before it is acknowledged."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from saccade.errors import ConfigError, StorageError
from saccade.open_files import OpenFiles, damage_of
from saccade.sqlite_files import STORE_ID, Format, check_sqlite, mark
from saccade_cloud.store.migrations import NEWEST

BUSY_S = 5.0  # how long to wait for another process that writes
INCREMENTAL = 2  # of PRAGMA auto_vacuum
GIVE_BACK_PAGES = 256  # 1 MiB at a time: some milliseconds
EXAMINED_AT_ONCE_BYTES = 64 << 20  # when it is opened: 0.1 s; larger ones while they serve
LEAST = (3, 35)  # RETURNING
FORMAT = Format(
    what="the store",
    application_id=STORE_ID,
    newest=NEWEST,
    version="SELECT MAX(version) FROM schema_version",
    tables={
        "schema_version": ("version", "applied_unix_ms"),
        "total": ("id", "bytes", "conflicts"),
        "packet": (
            *("device", "boot", "sequence", "session", "camera"),
            *("captured_ns", "received_ns", "payload"),
        ),
    },
)


class SqliteDatabase:
    """A ``Database`` in the file ``path``, which only its owner may read.

    Raises ``ConfigError`` when there is none and ``create`` is False, when it can't be created, and
    for a file that is not ours or is a newer Saccade's, of which nothing is changed then.
    """

    bytes_type = "BLOB"

    def __init__(self, path: Path, *, create: bool = True) -> None:
        if sqlite3.sqlite_version_info < LEAST:
            raise ConfigError(f"SQLite {sqlite3.sqlite_version} is here, the store needs 3.35")
        if not _is_there(path):
            if not create:
                raise ConfigError(f"there is no store at {path}")
            _create(path)
        elif not create and path.stat().st_size == 0:
            raise ConfigError(f"{path} is no store of Saccade's: it is empty")
        self.place = str(path)
        self.engine = _engine(path, marked=create)
        self._path = path
        self._kept: sqlite3.Connection | None = None
        self._files: OpenFiles | None = None

    def lock_schema(self, connection: Connection) -> None:
        """See ``Database.lock_schema``: BEGIN IMMEDIATE has locked all."""

    def watch(self) -> None:
        """See ``Database.watch``. A connection of its own stays open, so that SQLite keeps its
        files for as long as we look at them.
        """
        try:
            self._kept = sqlite3.connect(self._path, timeout=BUSY_S, check_same_thread=False)
            self._kept.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            self._files = OpenFiles(self._path, self._kept)
            small = self._path.stat().st_size <= EXAMINED_AT_ONCE_BYTES
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self.place}: {error}") from error
        if small:
            self.examine()

    def check(self) -> None:
        """See ``Database.check``: deleted, replaced or cut files of the database."""
        try:
            trouble = self._files.trouble() if self._files else ""
        except sqlite3.Error as error:
            raise StorageError(f"{self.place}: {error}") from error
        if trouble:
            raise StorageError(
                f"{trouble}: nothing is stored until it is put back or the cloud is started anew"
            )

    def examine(self) -> None:
        """See ``Database.examine``."""
        self.check()
        try:
            damage = damage_of(self._path, BUSY_S)
        except sqlite3.Error as error:
            damage = str(error)
            if _is_busy(error):
                return
        if damage:
            raise StorageError(f"{self.place} is damaged: {damage}")

    def close(self) -> None:
        """See ``Database.close``."""
        self.engine.dispose()
        if self._kept is not None:
            self._kept.close()
        self._kept = self._files = None

    def used_bytes(self, connection: Connection) -> int:
        """See ``Database.used_bytes``: exact, in pages; the log beside the file is not in it."""
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def give_back(self) -> bool:
        """See ``Database.give_back``: the file becomes shorter. A last piece stays for new rows."""
        raw = self.engine.raw_connection()
        try:
            [free] = raw.cursor().execute("PRAGMA freelist_count").fetchone()
            if free >= GIVE_BACK_PAGES:
                # A step of this statement frees one page, and only scripts are run to their end.
                raw.cursor().executescript(f"PRAGMA incremental_vacuum({GIVE_BACK_PAGES})")
        except sqlite3.Error as error:
            raise StorageError(f"{self.place}: {error}") from error
        finally:
            raw.close()
        return bool(free >= 2 * GIVE_BACK_PAGES)


def _is_busy(error: sqlite3.Error) -> bool:
    """Somebody else had it for too long, which says nothing about the pages."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


def _is_there(path: Path) -> bool:
    try:
        return check_sqlite(path, FORMAT)
    except OSError as error:
        raise ConfigError(f"no store at {path}: {error.strerror}") from error


def _create(path: Path) -> None:
    """An empty file with its owner's rights, which the log beside it inherits."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise ConfigError(f"no store at {path}: {error.strerror}") from error


def _engine(path: Path, *, marked: bool) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_S}
    )

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        # Python's own transactions would begin late; ours begin below.
        connection.isolation_level = None
        # Heeded while the file is empty; later it would wait for whoever writes.
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        if marked:
            mark(connection, STORE_ID)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 67108864")

    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        # Who reads first and writes later may find that it can't: writers lock at once.
        writes = connection.get_execution_options().get("saccade_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
