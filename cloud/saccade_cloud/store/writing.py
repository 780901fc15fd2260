"""One batch of packets and observations into the tables, and what became of each.

A batch is one transaction; all of it is stored or nothing. Rows that are there already stay as
they are: ON CONFLICT DO NOTHING, and what was not inserted is read back and compared.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from saccade.answer_probability import mean_and_least
from saccade.errors import PacketError
from saccade_cloud.store.store_schema import observation, packet, session, share, signed, total
from saccade_cloud.store.store_types import Observation, PacketRecord, SessionFacts

log = logging.getLogger(__name__)

# Of a row beside its payload or texts: columns and indexes, as SQLite's pages say
# (docs/guide/store.md).
ROW_BYTES = 130
DIGEST_BYTES = 16

Record = PacketRecord | Observation
Values = dict[str, Any]
Identity = tuple[str, int, int]


def write(connection: Connection, records: Sequence[Record]) -> list[bool | Exception]:
    """Insert ``records``, in the transaction that ``connection`` is in.

    For each True (it is stored), or the ``PacketError`` of a packet whose identity another has.
    """
    packets = [record for record in records if isinstance(record, PacketRecord)]
    observations = [record for record in records if isinstance(record, Observation)]
    added = Counter[str]()  # bytes by device
    fresh = _insert_packets(connection, packets, added)
    _insert_observations(connection, observations, added)
    conflicts = _conflicts(connection, packets, fresh)
    _count(connection, added, len(conflicts))
    return [conflicts.get(id(record), True) for record in records]


def row_bytes(content: int) -> int:
    """What a row with so many bytes of content takes, for want of a measure of its own."""
    return ROW_BYTES + content


def _insert_packets(
    connection: Connection, packets: Sequence[PacketRecord], added: Counter[str]
) -> dict[Identity, PacketRecord]:
    """Those that were not there, by identity; of two in the batch, the first."""
    if not packets:
        return {}
    _touch_sessions(connection, packets, added)
    first: dict[Identity, PacketRecord] = {}
    for record in packets:
        first.setdefault(record.identity, record)
    # In one order everywhere: two clouds on one database then never wait for each other.
    rows = [_packet_row(first[identity]) for identity in sorted(first)]
    inserted = _insert_new(connection, packet, rows)
    fresh = {i: p for i, p in first.items() if _key(i) in inserted}
    for record in fresh.values():
        added[record.session.device] += row_bytes(len(record.payload))
    return fresh


def _touch_sessions(
    connection: Connection, packets: Sequence[PacketRecord], added: Counter[str]
) -> None:
    seen_ns: dict[SessionFacts, int] = {}
    for record in packets:
        seen_ns[record.session] = max(record.received_ns, seen_ns.get(record.session, 0))
    rows = [_session_row(facts, when) for facts, when in seen_ns.items()]
    keys = select(session.c.key).where(session.c.key.in_([row["key"] for row in rows]))
    known = {bytes(key) for key in connection.execute(keys).scalars()}
    for row in rows:
        if row["key"] not in known:
            added[row["device"]] += row_bytes(len(row["cameras"]) + len(row["software"]))
    insert = _insert(connection, session)
    later = insert.excluded.seen_ns > session.c.seen_ns
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["key"], set_={"seen_ns": insert.excluded.seen_ns}, where=later
        ),
        sorted(rows, key=lambda row: row["key"]),
    )


def _insert_observations(
    connection: Connection, observations: Sequence[Observation], added: Counter[str]
) -> None:
    rows = {_observation_key(row): row for row in map(_observation_row, reversed(observations))}
    if not rows:
        return
    ordered = [rows[key] for key in sorted(rows)]
    inserted = _insert_new(connection, observation, ordered)
    for key in inserted:
        row = rows[key]
        added[row["device"]] += row_bytes(len(row["question"]) + len(row["answer"]))


def _insert_new(connection: Connection, table: Table, rows: list[Values]) -> set[tuple[Any, ...]]:
    """The primary keys of those rows that were not there."""
    insert = _insert(connection, table).on_conflict_do_nothing()
    returned = connection.execute(insert.returning(*table.primary_key.columns), rows)
    return {tuple(key) for key in returned}


def _conflicts(
    connection: Connection,
    packets: Sequence[PacketRecord],
    fresh: dict[Identity, PacketRecord],
) -> dict[int, PacketError]:
    """By ``id`` of the record: which are not what is stored under their identity."""
    again = [p for p in packets if fresh.get(p.identity) is not p]
    stored = _contents(connection, {p.identity for p in again})
    errors = {}
    for record in again:
        if stored.get(record.identity, record.content) != record.content:
            device, boot, sequence = record.identity
            log.warning(
                "conflict: packet %d of %r, boot %x, is stored with other content",
                *(sequence, device, boot),
            )
            errors[id(record)] = PacketError(
                f"another packet {sequence} of this boot of {device!r} is stored already: "
                f"it stays, this one of {len(record.payload)} bytes is refused"
            )
    return errors


def _contents(
    connection: Connection, identities: Iterable[Identity]
) -> dict[Identity, tuple[str, int, bytes]]:
    keys = {_key(identity): identity for identity in identities}
    if not keys:
        return {}
    columns = packet.c
    rows = connection.execute(
        select(packet).where(
            tuple_(columns.device, columns.boot, columns.sequence).in_(sorted(keys))
        )
    )
    return {
        keys[row.device, row.boot, row.sequence]: (row.camera, row.captured_ns, bytes(row.payload))
        for row in rows
    }


def _count(connection: Connection, added: Counter[str], conflicts: int) -> None:
    if added:
        insert = _insert(connection, share)
        more = share.c.bytes + insert.excluded.bytes
        connection.execute(
            insert.on_conflict_do_update(index_elements=["device"], set_={"bytes": more}),
            [{"device": device, "bytes": size} for device, size in sorted(added.items())],
        )
    if added or conflicts:
        connection.execute(
            update(total).values(
                bytes=total.c.bytes + added.total(), conflicts=total.c.conflicts + conflicts
            )
        )


def uncount(connection: Connection, removed: Counter[str]) -> None:
    """Rows of so many bytes were deleted, by device."""
    for device, size in sorted(removed.items()):
        of_device = share.c.device == device
        connection.execute(update(share).where(of_device).values(bytes=share.c.bytes - size))
        connection.execute(delete(share).where(of_device, share.c.bytes <= 0))
    connection.execute(update(total).values(bytes=total.c.bytes - removed.total()))


def _insert(connection: Connection, table: Table) -> Any:  # noqa: ANN401 - two classes alike
    """An INSERT that knows ON CONFLICT, which each dialect spells in a class of its own."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def session_key(facts: SessionFacts) -> bytes:
    """The same for the same facts, and for no others."""
    text = [
        *(facts.device, facts.boot, facts.epoch_unix_ms, list(facts.cameras)),
        *(facts.token_digest.hex(), facts.software),
    ]
    return _digest(text)


def _digest(text: list[Any]) -> bytes:
    return hashlib.blake2b(json.dumps(text).encode(), digest_size=DIGEST_BYTES).digest()


def _session_row(facts: SessionFacts, seen_ns: int) -> Values:
    return {
        "key": session_key(facts),
        "device": facts.device,
        "boot": signed(facts.boot),
        "epoch_unix_ms": signed(facts.epoch_unix_ms),
        "cameras": json.dumps(facts.cameras),
        "token_digest": facts.token_digest,
        "software": facts.software,
        "seen_ns": seen_ns,
    }


def _packet_row(record: PacketRecord) -> Values:
    return {
        "device": record.session.device,
        "boot": signed(record.session.boot),
        "sequence": signed(record.sequence),
        "session": session_key(record.session),
        "camera": record.camera,
        "captured_ns": record.captured_ns,
        "received_ns": record.received_ns,
        "payload": record.payload,
    }


def _observation_row(noted: Observation) -> Values:
    probability, least = mean_and_least(noted.probability)
    return {
        "device": noted.device,
        "boot": signed(noted.boot),
        "sequence": signed(noted.sequence),
        "identity": noted.identity,
        "camera": noted.camera,
        "captured_ns": noted.captured_ns,
        "question": noted.question,
        "answer": noted.answer.replace("\0", "\ufffd"),  # PostgreSQL's text holds no NUL
        "finish": noted.finish,
        "packet_bytes": noted.packet_bytes,
        "answered_ns": noted.answered_ns,
        "probability": probability,
        "least_probability": least,
    }


def _key(identity: Identity) -> Identity:
    """As it is stored."""
    device, boot, sequence = identity
    return device, signed(boot), signed(sequence)


def _observation_key(row: Values) -> tuple[str, int, int, bytes]:
    return row["device"], row["boot"], row["sequence"], row["identity"]
