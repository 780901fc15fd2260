"""What is asked of the tables. Each function is one short transaction's work."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, tuple_

from saccade.types import Probability
from saccade_cloud.store.store_schema import observation, packet, session, signed, total, unsigned
from saccade_cloud.store.store_types import (
    CameraTotals,
    Observation,
    PacketRecord,
    SessionFacts,
)

# Where a page of history ends: (captured_ns, boot as stored, sequence, identity).
Place = tuple[int, int, int, bytes]


def resume_after(connection: Connection, device: str, boot: int) -> int:
    """See ``Store.resume_after``."""
    highest = select(func.max(packet.c.sequence)).where(_of_boot(device, boot))
    # Half of all unsigned numbers are stored as negative ones, and those are the higher half.
    upper = connection.execute(highest.where(packet.c.sequence < 0)).scalar()
    found = connection.execute(highest).scalar() if upper is None else upper
    return unsigned(int(found or 0))


def stored(connection: Connection, device: str, boot: int, sequences: Collection[int]) -> list[int]:
    """See ``Store.stored``."""
    wanted = sorted({signed(number) for number in sequences})
    found = connection.execute(
        select(packet.c.sequence).where(_of_boot(device, boot), packet.c.sequence.in_(wanted))
    )
    return sorted(unsigned(number) for number in found.scalars())


def packet_of(connection: Connection, device: str, boot: int, sequence: int) -> PacketRecord | None:
    """See ``Store.packet``."""
    row = connection.execute(
        select(
            *(packet.c.camera, packet.c.captured_ns, packet.c.received_ns, packet.c.payload),
            *(session.c.epoch_unix_ms, session.c.cameras),
            *(session.c.token_digest, session.c.software),
        )
        .join_from(packet, session, packet.c.session == session.c.key)
        .where(_of_boot(device, boot), packet.c.sequence == signed(sequence))
    ).one_or_none()
    if row is None:
        return None
    facts = SessionFacts(
        device=device,
        boot=boot,
        epoch_unix_ms=unsigned(row.epoch_unix_ms),
        cameras=tuple(json.loads(row.cameras)),
        token_digest=bytes(row.token_digest),
        software=row.software,
    )
    return PacketRecord(
        session=facts,
        sequence=sequence,
        camera=row.camera,
        captured_ns=row.captured_ns,
        received_ns=row.received_ns,
        payload=bytes(row.payload),
    )


def history_page(
    connection: Connection,
    camera: tuple[str, str],
    span_ns: tuple[int, int],
    after: Place | None,
    rows: int,
) -> tuple[list[Observation], Place | None]:
    """The next observations of a camera (device, name) captured in [since, until), and where
    they end; None for no more.
    """
    columns = observation.c
    place = tuple_(columns.captured_ns, columns.boot, columns.sequence, columns.identity)
    query = (
        select(observation)
        .where(columns.device == camera[0], columns.camera == camera[1])
        .where(columns.captured_ns >= span_ns[0], columns.captured_ns < span_ns[1])
        .order_by(columns.captured_ns, columns.boot, columns.sequence, columns.identity)
        .limit(rows)
    )
    if after is not None:
        query = query.where(place > after)
    found = connection.execute(query).all()
    if not found:
        return [], None
    last = found[-1]
    ends = (last.captured_ns, last.boot, last.sequence, bytes(last.identity))
    return [_observation(row) for row in found], ends


def cameras(connection: Connection) -> Sequence[CameraTotals]:
    """Every camera's share, by device and name. Walks through all rows."""
    columns = packet.c
    packets = connection.execute(
        select(
            *(columns.device, columns.camera, func.count()),
            func.sum(func.length(columns.payload)),
            func.min(columns.captured_ns),
            func.max(columns.captured_ns),
        ).group_by(columns.device, columns.camera)
    )
    sent = {(row[0], row[1]): (row[2], int(row[3]), row[4], row[5]) for row in packets}
    observations = connection.execute(
        select(observation.c.device, observation.c.camera, func.count()).group_by(
            observation.c.device, observation.c.camera
        )
    )
    observed = {(row[0], row[1]): row[2] for row in observations}
    totals = []
    for key in sorted({*sent, *observed}):
        count, size, first_ns, last_ns = sent.get(key, (0, 0, 0, 0))
        totals.append(CameraTotals(*key, count, size, observed.get(key, 0), first_ns, last_ns))
    return totals


def conflicts(connection: Connection) -> int:
    """How many packets came under an identity that another had."""
    return int(connection.execute(select(total.c.conflicts)).scalar_one())


def _of_boot(device: str, boot: int) -> Any:  # noqa: ANN401 - SQLAlchemy's own type is private
    return and_(packet.c.device == device, packet.c.boot == signed(boot))


def _observation(row: Row[Any]) -> Observation:
    return Observation(
        device=row.device,
        camera=row.camera,
        boot=unsigned(row.boot),
        sequence=unsigned(row.sequence),
        captured_ns=row.captured_ns,
        identity=bytes(row.identity),
        question=row.question,
        answer=row.answer,
        finish=row.finish,
        packet_bytes=row.packet_bytes,
        answered_ns=row.answered_ns,
        probability=_probability(row.probability, row.least_probability),
    )


def _probability(mean: float | None, least: float | None) -> Probability | None:
    return None if mean is None or least is None else Probability(mean, least)
