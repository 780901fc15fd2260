"""What differs between databases: how one is opened, locked, measured and shrunk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from saccade.errors import ConfigError, StorageError
from saccade.redaction import scrub
from saccade_cloud.store.migrations import NEWEST, check_known, migrate, version_of


class Database(Protocol):
    """Connections to one database. ``place``: its name for people, without a password."""

    place: str
    bytes_type: str
    engine: Engine

    def lock_schema(self, connection: Connection) -> None:
        """Until the transaction ends, no other process migrates."""
        ...

    def watch(self) -> None:
        """From now on `check` knows what was opened. Raises ``StorageError``."""
        ...

    def check(self) -> None:
        """Raises ``StorageError`` where what was opened is no longer what the name stands for."""
        ...

    def examine(self) -> None:
        """Read all pages, past every cache of ours. Raises ``StorageError`` for a damaged one."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...

    def used_bytes(self, connection: Connection) -> int:
        """What the rows take, indexes included; what lies free for new rows is not counted."""
        ...

    def give_back(self) -> bool:
        """Return some of what lies free to the disk; whether there is more.

        Raises ``StorageError``.
        """
        ...


def upgrade(database: Database) -> None:
    """Create or migrate the tables, and watch them. Raises ``ConfigError`` where that can't be
    done.
    """
    with _opening(database):
        with writing(database) as connection:
            database.lock_schema(connection)
            migrate(connection, database.bytes_type)
        database.watch()


def require_newest(database: Database) -> None:
    """Raises ``ConfigError`` unless the tables are today's: for those who only read."""
    with _opening(database), reading(database) as connection:
        version = version_of(connection)
    check_known(version)
    if version < NEWEST:
        raise ConfigError(
            f"{database.place} has schema {version}, this Saccade reads {NEWEST}: "
            "`saccade cloud serve --store` upgrades it"
            if version
            else f"{database.place} is no store of Saccade's"
        )


@contextmanager
def reading(database: Database) -> Iterator[Connection]:
    """A transaction that reads. Raises ``StorageError``."""
    with _translated(database), database.engine.connect() as connection:
        yield connection


@contextmanager
def writing(database: Database) -> Iterator[Connection]:
    """A transaction, committed durably at the end unless something was raised.

    Raises ``StorageError``; the connection is then given up, and the next one is a new one.
    """
    database.check()
    with _translated(database), database.engine.connect() as plain:
        connection = plain.execution_options(saccade_writes=True)
        try:
            with connection.begin():
                yield connection
        except DBAPIError:
            connection.invalidate()
            raise
    database.check()  # what was committed to a file without a name is not stored


@contextmanager
def _translated(database: Database) -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        text = scrub(" ".join(str(error.orig).split()))
        raise StorageError(f"{database.place}: {text}") from error


@contextmanager
def _opening(database: Database) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise ConfigError(f"the store can't be opened: {error}") from error
