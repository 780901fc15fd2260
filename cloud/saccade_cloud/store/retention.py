"""What is deleted, and when: the oldest first, in steps that hold writers up for milliseconds.

Age is counted from when something came to the cloud, by the cloud's own clock: a camera whose
clock is wrong can neither lose its packets at once nor keep them for ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select

from saccade_cloud.store.database import Database, reading, writing
from saccade_cloud.store.schema import observation, packet, session
from saccade_cloud.store.writing import row_bytes, uncount

STEP_ROWS = 500
NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Retention:
    """The most that is kept; 0 sets no bound. ``keep_bytes`` counts as ``Database.used_bytes``."""

    keep_days: float = 0.0
    keep_bytes: int = 0

    def step(self, database: Database) -> bool:
        """Delete some of what is too old or too much; whether there may be more.

        A packet and the observations of the same time go together. Raises ``StorageError``.
        """
        until_ns = self._next_cut_ns(database)
        if until_ns is not None:
            with writing(database) as connection:
                _delete_until(connection, until_ns)
        return database.give_back() or until_ns is not None

    def _next_cut_ns(self, database: Database) -> int | None:
        """Everything that came until then goes; None: nothing does."""
        with reading(database) as connection:
            excess = 0
            if self.keep_bytes:
                excess = database.used_bytes(connection) - self.keep_bytes
            expired_ns = 0
            if self.keep_days:
                expired_ns = time.time_ns() - int(self.keep_days * NS_PER_DAY)
            if excess <= 0 and not expired_ns:
                return None
            oldest = _oldest(connection)
        cut_ns = None
        for came_ns, size in oldest:
            if came_ns > expired_ns and excess <= 0:
                break
            cut_ns = came_ns
            excess -= size
        return cut_ns


_PACKET_SIZE = func.length(packet.c.payload)
_OBSERVATION_SIZE = func.length(observation.c.question) + func.length(observation.c.answer)


def _oldest(connection: Connection) -> list[tuple[int, int]]:
    """(when it came, bytes) of the first rows."""
    packets = select(packet.c.received_ns, _PACKET_SIZE).order_by(packet.c.received_ns)
    noted = select(observation.c.answered_ns, _OBSERVATION_SIZE).order_by(observation.c.answered_ns)
    rows = [
        (came_ns, row_bytes(size))
        for query in (packets, noted)
        for came_ns, size in connection.execute(query.limit(STEP_ROWS))
    ]
    return sorted(rows)[:STEP_ROWS]


def _delete_until(connection: Connection, until_ns: int) -> None:
    """A session goes when its last packet does: that one came when the session was last seen."""
    came = (packet.c.received_ns, observation.c.answered_ns)
    gone = [
        row_bytes(size)
        for table, when, measure in zip(
            (packet, observation), came, (_PACKET_SIZE, _OBSERVATION_SIZE), strict=True
        )
        for size in connection.execute(
            delete(table).where(when <= until_ns).returning(measure)
        ).scalars()
    ]
    connection.execute(delete(session).where(session.c.seen_ns <= until_ns))
    uncount(connection, sum(gone))
