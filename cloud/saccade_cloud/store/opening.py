"""Where a store is: ``sqlite:///PATH``, a bare path, ``postgresql://...``, or ``memory:``.

SQLAlchemy is imported when a database is named: a demo without one starts without it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from saccade.errors import ConfigError
from saccade_cloud.store.base import Store
from saccade_cloud.store.nothing import NoStore

if TYPE_CHECKING:
    from saccade_cloud.store.database import Database

MEMORY = "memory:"


def default_store() -> str:
    """A file where this user's or this service's programs keep their state.

    ``STATE_DIRECTORY`` is systemd's; otherwise the XDG Base Directory Specification decides.
    """
    if service := os.environ.get("STATE_DIRECTORY"):
        return str(Path(service.split(":")[0]) / "store.db")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return str(Path(state) / "saccade" / "store.db")


def open_store(
    url: str, *, keep_days: float = 0.0, keep_bytes: int = 0, timeout_s: float = 5.0
) -> Store:
    """Call it inside the event loop that uses the store. Raises ``ConfigError``."""
    if url == MEMORY:
        return NoStore()
    from saccade_cloud.store.retention import Retention
    from saccade_cloud.store.sql import SqlStore

    return SqlStore(open_database(url), Retention(keep_days, keep_bytes), timeout_s=timeout_s)


def open_database(url: str, *, create: bool = True) -> Database:
    """``create`` False: a file must be there. Raises ``ConfigError``."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    from saccade_cloud.store.postgres import PostgresDatabase
    from saccade_cloud.store.sqlite import SqliteDatabase

    if url and ":" not in url.partition("/")[0]:
        return SqliteDatabase(Path(url), create=create)
    scheme, _, rest = url.partition("://")
    try:
        if scheme == "sqlite" and (path := rest.removeprefix("/")):
            return SqliteDatabase(Path(path), create=create)
        if scheme in ("postgresql", "postgres"):
            return PostgresDatabase(make_url(f"postgresql://{rest}"))
    except (ArgumentError, ValueError) as error:
        raise ConfigError(f"no store at that URL: {error}") from error
    raise ConfigError(
        f"{scheme!r} is no kind of store: give a path, sqlite:///PATH, postgresql://... or {MEMORY}"
    )
