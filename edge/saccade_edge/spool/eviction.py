"""Room for one more packet: within the quota, and on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from saccade_edge.spool.packet_rows import cost
from saccade_edge.spool.packet_table import PacketTable
from saccade_edge.spool.spool_types import Entry, Fate, SpoolSettings

_PAGE_BYTES = 4096  # SQLite's

# Drops the packet with that sequence, counts it by its fate, and says how many bytes it took.
Drop = Callable[[int, str], int]


def make_room(
    packets: PacketTable, settings: SpoolSettings, entry: Entry, drop: Drop
) -> Fate | None:
    """Drop the oldest until ``entry`` fits; what is in its way, where it does not.

    Raises ``OSError`` and ``sqlite3.Error``.
    """
    size = cost(entry)
    if size > settings.quota_bytes:
        return Fate.QUOTA
    over = packets.bytes + size - settings.quota_bytes
    if over > 0 and not _evict(packets, over, Fate.QUOTA, drop):
        return Fate.QUOTA
    if _disk_is_short(packets, settings, size) and not _evict(packets, size, Fate.DISK_FULL, drop):
        return Fate.DISK_FULL
    return None


def _evict(packets: PacketTable, needed: int, fate: Fate, drop: Drop) -> bool:
    """Drop the oldest until so many bytes are free."""
    for sequence in packets.droppable():
        if needed <= 0:
            break
        needed -= drop(sequence, fate.value)
    return needed <= 0


def _disk_is_short(packets: PacketTable, settings: SpoolSettings, size: int) -> bool:
    """Whether only the reserve is left, and no page of the file is free."""
    disk = os.statvfs(settings.path.parent)
    if disk.f_bavail * disk.f_frsize >= settings.reserve_bytes:
        return False
    return packets.free_pages() * _PAGE_BYTES < size + 4 * _PAGE_BYTES
