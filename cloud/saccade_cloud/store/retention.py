"""What is deleted, and when: the oldest first, in steps that hold writers up for milliseconds.

Age is counted from when something came to the cloud, by the cloud's own clock: a camera whose
clock is wrong can neither lose its packets at once nor keep them for ever.

Where it is too much, the device that holds most makes room, down to what the next one holds. So a
device that sends a lot shortens its own past and nobody else's.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select

from saccade_cloud.store.database import Database, reading, writing
from saccade_cloud.store.store_schema import observation, packet, session, share, total
from saccade_cloud.store.writing import row_bytes, uncount

STEP_ROWS = 500
NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Cut:
    """What came until then goes: of one device, or of all where ``device`` is None."""

    until_ns: int
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """The most that is kept; 0 sets no bound. ``keep_bytes`` counts as ``Database.used_bytes``."""

    keep_days: float = 0.0
    keep_bytes: int = 0

    def step(self, database: Database) -> bool:
        """Delete some of what is too old or too much; whether there may be more.

        A packet and the observations of the same time go together. Raises ``StorageError``.
        """
        cut = self._next_cut(database)
        if cut is not None:
            with writing(database) as connection:
                _delete(connection, cut)
        return database.give_back() or cut is not None

    def _next_cut(self, database: Database) -> Cut | None:
        with reading(database) as connection:
            if self.keep_days:
                expired_ns = time.time_ns() - int(self.keep_days * NS_PER_DAY)
                old = [came_ns for came_ns, _ in _oldest(connection) if came_ns <= expired_ns]
                if old:
                    return Cut(old[-1])
            if self.keep_bytes:
                used = database.used_bytes(connection)
                if used > self.keep_bytes:
                    # Pages are never full: in the measure of the shares it is less.
                    counted = int(connection.execute(select(total.c.bytes)).scalar_one())
                    excess = (used - self.keep_bytes) * min(counted, used) // used
                    return _largest_share_cut(connection, max(excess, 1))
        return None


def _largest_share_cut(connection: Connection, excess: int) -> Cut | None:
    """The oldest of the device that holds most, as much as is too much; about as much as makes it
    hold as much as the next one.
    """
    largest = select(share.c.device, share.c.bytes).order_by(share.c.bytes.desc()).limit(2)
    shares = connection.execute(largest).all()
    if not shares:
        return None
    device, held = shares[0]
    next_held = shares[1].bytes if len(shares) > 1 else 0
    # Devices that hold alike take turns, and not with a transaction for each row.
    too_much = min(excess, max(held - next_held, held // 64))
    cut = None
    for came_ns, size in _oldest(connection, device):
        cut = Cut(came_ns, device)
        too_much -= size
        if too_much <= 0:
            break
    return cut


_PACKET_BYTES = func.length(packet.c.payload)
_OBSERVATION_BYTES = func.length(observation.c.question) + func.length(observation.c.answer)
_SESSION_BYTES = func.length(session.c.cameras) + func.length(session.c.software)
# (table, when a row came, its content): a session goes when its last packet does, since that one
# came when the session was last seen.
_KEPT = (
    (packet, packet.c.received_ns, _PACKET_BYTES),
    (observation, observation.c.answered_ns, _OBSERVATION_BYTES),
    (session, session.c.seen_ns, _SESSION_BYTES),
)


def _oldest(connection: Connection, device: str | None = None) -> list[tuple[int, int]]:
    """(when it came, bytes) of the first rows; of a device with its sessions."""
    return sorted(_first_rows(connection, device))[:STEP_ROWS]


def _first_rows(connection: Connection, device: str | None) -> Iterator[tuple[int, int]]:
    for table, came, content in _KEPT if device is not None else _KEPT[:2]:
        query = select(came, content).order_by(came).limit(STEP_ROWS)
        if device is not None:
            query = query.where(table.c.device == device)
        for came_ns, size in connection.execute(query):
            yield came_ns, row_bytes(size)


def _delete(connection: Connection, cut: Cut) -> None:
    removed = Counter[str]()
    for table, came, content in _KEPT:
        gone = delete(table).where(came <= cut.until_ns)
        if cut.device is not None:
            gone = gone.where(table.c.device == cut.device)
        for device, size in connection.execute(gone.returning(table.c.device, content)):
            removed[device] += row_bytes(size)
    uncount(connection, removed)
