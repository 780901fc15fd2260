"""PostgreSQL, for a store that several clouds share, or that lives on another machine."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, select

from saccade.errors import ConfigError
from saccade.redaction import redact, remember
from saccade_cloud.store.store_schema import total

TIMEOUT_S = 5
# Of the advisory lock under which one process migrates; the number means nothing.
SCHEMA_LOCK = 7_860_001


class PostgresDatabase:
    """A ``Database`` at ``url``. Raises ``ConfigError`` where psycopg is not installed."""

    bytes_type = "BYTEA"

    def __init__(self, url: URL) -> None:
        plain = url.render_as_string(hide_password=False)
        remember(plain)
        self.place = redact(plain)
        self.engine = _engine(url.set(drivername="postgresql+psycopg"))

    def lock_schema(self, connection: Connection) -> None:
        """See ``Database.lock_schema``."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")

    def watch(self) -> None:
        """See ``Database.watch``: the server looks after its own files."""

    def check(self) -> None:
        """See ``Database.check``."""

    def examine(self) -> None:
        """See ``Database.examine``: a server with data checksums looks at every page it reads."""

    def close(self) -> None:
        """See ``Database.close``."""
        self.engine.dispose()

    def used_bytes(self, connection: Connection) -> int:
        """See ``Database.used_bytes``: counted with every row, because tables never shrink."""
        return int(connection.execute(select(total.c.bytes)).scalar_one())

    def give_back(self) -> bool:
        """See ``Database.give_back``: autovacuum makes room for new rows, and we leave it to it."""
        return False


def _engine(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,  # a database that was restarted is noticed before, not after
            connect_args={
                "connect_timeout": TIMEOUT_S,
                "tcp_user_timeout": TIMEOUT_S * 1000,
                "client_encoding": "utf8",
            },
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"PostgreSQL needs the package {error.name!r}, which is not installed: "
            "pip install 'saccade-vlm[postgres]'"
        ) from error

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's own
        # An acknowledgement promises the disk, whatever the server's configuration says.
        connection.execute("SET synchronous_commit TO on")
        connection.execute(f"SET statement_timeout TO '{TIMEOUT_S * 6}s'")
        connection.commit()

    return engine
