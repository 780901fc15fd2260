"""Where a store is: ``sqlite:///PATH``, a bare path, ``postgresql://...``, or ``memory:``.

SQLAlchemy is imported when a database is named: a demo without one starts without it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from saccade.errors import ConfigError
from saccade.paths import expand, state_folder
from saccade.redaction import redact, remember
from saccade_cloud.store.base import Store
from saccade_cloud.store.no_store import NoStore

if TYPE_CHECKING:
    from saccade_cloud.store.database import Database

MEMORY = "memory:"
VARIABLE = "SACCADE_STORE"
# A scheme, or libpq's "host=... password=...": a slip, and no good name of a file.
_NO_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|(\S+\s+)*(host|hostaddr|dbname|user|password)\s*=")


def default_store() -> str:
    """A file where this user's or this service's programs keep their state.

    Raises ``ConfigError`` for a user without a home.
    """
    return str(state_folder("--store") / "store.db")


def chosen_store() -> str:
    """The user's: a command line can be read by everybody on the machine, this variable cannot."""
    return os.environ.get(VARIABLE) or default_store()


def open_store(
    url: str, *, keep_days: float = 0.0, keep_bytes: int = 0, timeout_s: float = 5.0
) -> Store:
    """Call it inside the event loop that uses the store. Raises ``ConfigError``."""
    if url == MEMORY:
        return NoStore()
    from saccade_cloud.store.retention import Retention
    from saccade_cloud.store.sql_store import SqlStore

    return SqlStore(open_database(url), Retention(keep_days, keep_bytes), timeout_s=timeout_s)


def open_database(url: str, *, create: bool = True) -> Database:
    """``create`` False: a file must be there. Raises ``ConfigError``."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from saccade_cloud.store.postgres_database import PostgresDatabase
    from saccade_cloud.store.sqlite_database import SqliteDatabase

    if url and not _NO_PATH.match(url):
        return SqliteDatabase(expand(url), create=create)
    remember(url)
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "sqlite" and (path := rest.removeprefix("/")):
        return SqliteDatabase(expand(path), create=create)
    if scheme in ("postgresql", "postgres"):
        try:
            return PostgresDatabase(make_url(f"postgresql://{rest}"))
        except (ArgumentError, ValueError, UnicodeError):
            # The library's own words repeat the URL, or a piece of it.
            raise ConfigError(
                f"{redact(url)} is no URL of a database: in user name and password, "
                "characters such as @ / : # % are written as %40 %2F %3A %23 %25"
            ) from None
    if url == MEMORY:
        raise ConfigError(f"{MEMORY} keeps nothing: there is nothing to look at")
    raise ConfigError(
        f"{redact(scheme)!r} is no kind of store: give a path, sqlite:///PATH, postgresql://... "
        f"or {MEMORY}"
    )
