"""What must hold after any fault: where every packet is, and that nothing else is anywhere.

- What the cloud's store and the spools hold was captured, byte for byte, under its identity.
- What was handed over is stored once, or in a spool, or missing; and no more are missing than the
  spools' counters name.
- The counters add up: handed = delivered + lost + waiting.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from saccade_cloud.store.store_schema import unsigned
from saccade_edge.spool import Fate
from saccade_edge.spool.spool_inspection import look_into
from saccade_edge.spool.spool_schema import connect_read_only, read_meta
from saccade_edge.spool.spool_types import HANDED
from saccade_testing.journal import Identity, Journal

# Counts what the store's process is given to store, also what is there already.
_WATCH = """
CREATE TABLE heard (device TEXT, boot INTEGER, sequence INTEGER);
CREATE TRIGGER hearing BEFORE INSERT ON packet BEGIN
  INSERT INTO heard VALUES (NEW.device, NEW.boot, NEW.sequence);
END;
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """``heard_again``: packets that the store was given when it had them; ``counters``: of packets
    that were lost, by their names.
    """

    captured: int
    handed: int
    stored: int
    in_spool: int
    counters: dict[str, int]
    heard_again: int

    @property
    def lost(self) -> int:
        return sum(self.counters.values())


def watch(store: Path) -> None:
    """From now on the store, which a running cloud has made, counts what it is given."""
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        connection.executescript(_WATCH)


def examine(store: Path, *edges: tuple[Journal, Path | None], conflicts: int = 0) -> Figures:
    """Look at everything once all processes have ended. ``edges``: journals, each with its spool
    if there is one. ``conflicts``: packets that the cloud had to refuse as another's. Raises
    ``AssertionError`` where a promise is broken.
    """
    captured: dict[Identity, bytes] = {}
    handed: set[Identity] = set()
    for journal, _ in edges:
        journal.follow()
        captured.update(journal.captured)
        handed |= journal.handed
    stored, heard_again = _stored(store, conflicts)
    waiting: dict[Identity, bytes] = {}
    counts: Counter[str] = Counter()
    for _, spool in edges:
        if spool is not None:
            waiting.update(_waiting(spool))
            counts.update(_counts(spool))
    for place, found in (("store", stored), ("a spool", waiting)):
        strange = [identity for identity in found if identity not in captured]
        assert not strange, f"in the {place}, never captured: {strange[:5]}"
        changed = [i for i, packet in found.items() if captured[i] != packet]
        assert not changed, f"in the {place}, not as it was captured: {changed[:5]}"
    lost = {name: n for name, n in counts.items() if n and name not in (HANDED, "delivered")}
    missing = handed - stored.keys() - waiting.keys()
    assert len(missing) <= sum(lost.values()), f"{len(missing)} missing, {lost} counted"
    assert counts[Fate.DELIVERED.value] <= len(stored)
    spooled = [journal for journal, spool in edges if spool is not None]
    assert sum(len(journal.handed) for journal in spooled) <= counts[HANDED]
    assert counts[HANDED] <= sum(len(journal.captured) for journal in spooled)
    return Figures(len(captured), len(handed), len(stored), len(waiting), lost, heard_again)


def _stored(store: Path, conflicts: int) -> tuple[dict[Identity, bytes], int]:
    with closing(sqlite3.connect(store, timeout=10)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT device, boot, sequence, payload FROM packet").fetchall()
        refused = connection.execute("SELECT conflicts FROM total").fetchone()[0]
        watched = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'heard'").fetchone()
        heard = connection.execute("SELECT COUNT(*) FROM heard").fetchone()[0] if watched else 0
    assert refused == conflicts, f"{refused} packets came under another's identity"
    found = {
        (device, unsigned(boot), sequence): payload for device, boot, sequence, payload in rows
    }
    twice = len(rows) - len({(device, packet) for (device, _, _), packet in found.items()})
    assert twice == 0, f"{twice} packets are stored under two identities"
    return found, max(heard - len(rows), 0)


def _waiting(spool: Path) -> dict[Identity, bytes]:
    with closing(connect_read_only(spool)) as connection:
        meta = read_meta(connection)
        boot = int(meta["boot"], 16)
        rows = connection.execute("SELECT sequence, packet FROM packet").fetchall()
    return {(meta["device"], boot, sequence): packet for sequence, packet in rows}


def _counts(spool: Path) -> dict[str, int]:
    report, _ = look_into(spool)
    assert report.handed == report.ended + report.packets, report
    return dict(report.counts)
