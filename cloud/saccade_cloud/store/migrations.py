"""From any schema we ever wrote to today's: numbered steps, forward only, never edited."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, inspect

from saccade.errors import ConfigError
from saccade_cloud.store.store_schema import metadata

# {bytes} is the database's type for bytes. A step is one transaction with its number.
STEPS: Sequence[Sequence[str]] = (
    (  # 1: sessions and packets
        """CREATE TABLE session (
            key {bytes} NOT NULL PRIMARY KEY,
            device TEXT NOT NULL,
            boot BIGINT NOT NULL,
            epoch_unix_ms BIGINT NOT NULL,
            cameras TEXT NOT NULL,
            bundle_digest {bytes} NOT NULL,
            software TEXT NOT NULL,
            seen_ns BIGINT NOT NULL
        )""",
        """CREATE TABLE packet (
            device TEXT NOT NULL,
            boot BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            session {bytes} NOT NULL,
            camera TEXT NOT NULL,
            captured_ns BIGINT NOT NULL,
            received_ns BIGINT NOT NULL,
            payload {bytes} NOT NULL,
            PRIMARY KEY (device, boot, sequence)
        )""",
        "CREATE INDEX packet_by_age ON packet (received_ns)",
        """CREATE TABLE total (
            id INTEGER NOT NULL PRIMARY KEY,
            bytes BIGINT NOT NULL,
            conflicts BIGINT NOT NULL
        )""",
        "INSERT INTO total (id, bytes, conflicts) VALUES (1, 0, 0)",
    ),
    (  # 2: observations
        """CREATE TABLE observation (
            device TEXT NOT NULL,
            boot BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            asked {bytes} NOT NULL,
            camera TEXT NOT NULL,
            captured_ns BIGINT NOT NULL,
            question TEXT NOT NULL,
            max_tokens BIGINT NOT NULL,
            answer TEXT NOT NULL,
            finish TEXT NOT NULL,
            packet_bytes BIGINT NOT NULL,
            answered_ns BIGINT NOT NULL,
            PRIMARY KEY (device, boot, sequence, asked)
        )""",
        "CREATE INDEX observation_by_age ON observation (answered_ns)",
        "CREATE INDEX observation_by_capture ON observation (device, camera, captured_ns)",
    ),
    (  # 3: how much each device holds
        "CREATE TABLE share (device TEXT NOT NULL PRIMARY KEY, bytes BIGINT NOT NULL)",
        """INSERT INTO share (device, bytes)
            SELECT device, SUM(bytes) FROM (
                SELECT device, 130 + LENGTH(payload) AS bytes FROM packet
                UNION ALL
                SELECT device, 130 + LENGTH(question) + LENGTH(answer) FROM observation
                UNION ALL
                SELECT device, 130 + LENGTH(cameras) + LENGTH(software) FROM session
            ) AS held GROUP BY device""",
        "UPDATE total SET bytes = (SELECT COALESCE(SUM(bytes), 0) FROM share)",
        "CREATE INDEX packet_of_device ON packet (device, received_ns)",
        "CREATE INDEX observation_of_device ON observation (device, answered_ns)",
        "CREATE INDEX session_of_device ON session (device, seen_ns)",
    ),
    (  # 4: how probable an answer was; unknown of those that are there already
        "ALTER TABLE observation ADD COLUMN probability DOUBLE PRECISION",
        "ALTER TABLE observation ADD COLUMN least_probability DOUBLE PRECISION",
    ),
    (  # 5: what tokens mean has a digest of its own; an observation's identity covers its engine
        "ALTER TABLE session RENAME COLUMN bundle_digest TO token_digest",
        "ALTER TABLE observation RENAME COLUMN asked TO identity",
        "ALTER TABLE observation DROP COLUMN max_tokens",
    ),
)
NEWEST = len(STEPS)
_VERSIONS, _COLUMNS = "schema_version", {"version", "applied_unix_ms"}


def version_of(connection: Connection) -> int:
    """The schema's number; 0 for a database without any of our tables.

    Raises ``ConfigError`` where another program has tables of these names.
    """
    database = inspect(connection)
    if not database.has_table(_VERSIONS):
        if taken := [table for table in metadata.tables if database.has_table(table)]:
            raise ConfigError(
                f"the database has tables of another program's ({', '.join(taken)}): "
                "give Saccade a database or a schema of its own"
            )
        return 0
    if {column["name"] for column in database.get_columns(_VERSIONS)} != _COLUMNS:
        raise ConfigError(
            f"the database's table {_VERSIONS} is another program's: "
            "give Saccade a database or a schema of its own"
        )
    found = connection.exec_driver_sql("SELECT MAX(version) FROM schema_version").scalar()
    return int(found or 0)


def check_known(version: int) -> None:
    """Raises ``ConfigError`` for a schema of a later Saccade than this."""
    if version > NEWEST:
        raise ConfigError(
            f"the store has schema {version} and this Saccade knows {NEWEST}: "
            "a newer one wrote it, and only such a one may open it"
        )


def migrate(connection: Connection, bytes_type: str, to: int = NEWEST) -> None:
    """Take the steps that are missing, inside the transaction that ``connection`` is in.

    Raises ``ConfigError`` as `check_known` does.
    """
    version = version_of(connection)
    check_known(version)
    if version == 0:
        connection.exec_driver_sql(
            "CREATE TABLE schema_version (version BIGINT NOT NULL, applied_unix_ms BIGINT NOT NULL)"
        )
    for number in range(version + 1, to + 1):
        for statement in STEPS[number - 1]:
            connection.exec_driver_sql(statement.format(bytes=bytes_type))
        connection.exec_driver_sql(
            "INSERT INTO schema_version (version, applied_unix_ms) "
            f"VALUES ({number}, {time.time_ns() // 1_000_000})"
        )
