"""What the spool keeps and tells.

Every packet that is handed over is counted once as ``handed`` and ends in exactly one other
counter; until then it is in the spool, or, where the disk does not take it, in memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from saccade.turns import Question
from saccade_edge.spool.spool_schema import connect

GIB = 1 << 30
HANDED = "handed"
CORRUPT_FILES = "corrupt_files"
REBORN = "reborn"
_OTHER_COUNTS = (HANDED, CORRUPT_FILES, REBORN)


class Fate(str, Enum):
    """How a packet ended. From ``disk_full`` on: why the disk did not keep it, where memory could
    not deliver it either.
    """

    DELIVERED = "delivered"
    REFUSED = "refused"  # counted as "refused:CODE"
    EXPIRED = "expired"
    QUOTA = "quota"
    DAMAGED = "damaged"  # the row's checksum is wrong
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    IO_ERROR = "io_error"
    LOCKED = "locked"  # by another process that holds the database's own lock
    CORRUPT = "corrupt"  # the file, which was moved aside
    STALLED = "stalled"  # the disk took too long
    LOST = "lost"  # the file, its log or its lock: deleted, replaced or cut while in use


def refused(code: str) -> str:
    """The counter of packets that the cloud refused with ``code``, one of `saccade.errors`."""
    return f"{Fate.REFUSED.value}:{code}"


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """``quota_bytes``: of packets, questions and some 100 bytes for each; the file is up to a fifth
    larger. ``reserve_bytes``: what the spool leaves free on its disk, for its own bookkeeping too.

    ``connect`` opens the database, also the one in a corrupt one's place. A function of your own
    that calls it can watch the connection or bound it; what makes a commit durable must stay.
    """

    path: Path
    quota_bytes: int = GIB
    keep_hours: float = 72.0
    reserve_bytes: int = 16 << 20
    connect: Callable[[Path], sqlite3.Connection] = connect


@dataclass(frozen=True, slots=True)
class Asked:
    """A question about a packet."""

    id: int
    question: Question


@dataclass(frozen=True, slots=True)
class Entry:
    """One packet as it is kept. ``camera``: index in the identity's cameras; ``deadline_unix_ms``:
    until when it is live.
    """

    sequence: int
    camera: int
    captured_unix_ms: int
    deadline_unix_ms: int
    packet: bytes
    questions: tuple[Asked, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """What every Hello says: a packet is known by (device, boot, sequence), and its time and camera
    are relative to ``epoch_unix_ms`` and ``cameras``.
    """

    device: str
    boot: int
    epoch_unix_ms: int
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """``packets``, ``bytes``: waiting, those of other bundles included. ``counts``: packets by
    counter, over the spool's whole life. ``trouble``: why the disk takes nothing now, or empty.
    """

    path: str
    device: str
    boot: str
    cameras: tuple[str, ...]
    packets: int
    bytes: int
    other_bundle: int
    quota_bytes: int
    counts: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""

    @property
    def handed(self) -> int:
        """Packets that were ever handed over."""
        return self.counts.get(HANDED, 0)

    @property
    def delivered(self) -> int:
        """Packets that are in the cloud's store."""
        return self.counts.get(Fate.DELIVERED.value, 0)

    @property
    def ended(self) -> int:
        """Packets that ended in a counter."""
        return sum(n for name, n in self.counts.items() if name not in _OTHER_COUNTS)

    @property
    def lost(self) -> int:
        """Packets that ended without reaching the cloud's store."""
        return self.ended - self.delivered


@dataclass(frozen=True, slots=True)
class SpoolTroubled:
    """The disk stopped taking packets; live ones go on from memory."""

    fate: Fate
    detail: str


@dataclass(frozen=True, slots=True)
class SpoolMended:
    """The disk takes packets again."""


@dataclass(frozen=True, slots=True)
class SpoolReborn:
    """A new boot begins; ``lost`` packets were in a corrupt file that was moved aside."""

    reason: str
    lost: int = 0


SpoolEvent = SpoolTroubled | SpoolMended | SpoolReborn
