"""A corrupt file is moved aside, and a new one takes its place."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from saccade_edge.spool.packet_rows import one
from saccade_edge.spool.spool_faults import fault_of
from saccade_edge.spool.spool_file import SpoolFile
from saccade_edge.spool.spool_types import CORRUPT_FILES, HANDED, Fate, Identity, SpoolSettings


def open_or_replace(
    settings: SpoolSettings, digest: bytes, fresh: Identity
) -> tuple[SpoolFile, Path | None]:
    """The spool's file, and where a corrupt one was moved, if it was."""
    try:
        return SpoolFile.open(settings, digest, fresh), None
    except sqlite3.DatabaseError as error:
        if fault_of(error).fate is not Fate.CORRUPT:
            raise
    lost = _rows_of(settings.path)
    aside = move_aside(settings.path)
    file = SpoolFile.open(settings, digest, fresh)
    with file.transaction():
        file.add_counts({CORRUPT_FILES: 1, HANDED: lost, Fate.CORRUPT.value: lost})
    return file, aside


def move_aside(path: Path) -> Path:
    """A corrupt database and what belongs to it, for who may repair it; its new name."""
    stamp_ms = time.time_ns() // 1_000_000
    while (aside := path.with_name(f"{path.name}.corrupt-{stamp_ms}")).exists():
        stamp_ms += 1
    for suffix in ("", "-wal", "-shm"):
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(f"{aside}{suffix}")
    return aside


def _rows_of(path: Path) -> int:
    """How many packets a corrupt file holds, as far as it still says."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            return one(connection, "SELECT COUNT(*) FROM packet")
    except sqlite3.Error:
        return 0
