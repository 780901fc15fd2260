"""A running edge's present state in a small file, for whoever asks from outside.

It is written about once a second, in a thread of its own, and replaced whole: a reader sees one
moment or another, never half of each. It is not synced: after a power cut it may be gone, or old.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.errors import ConfigError, Unreachable
from saccade.files import check_ours, head, look, replace
from saccade.text import file_name
from saccade_edge.source.slot import NewestSlot

log = logging.getLogger(__name__)

FORMAT = 1
_WHAT = "the status file"
_BEGINS = (b'{"format": ',)
WRITE_S = 1.0
# An edge that has not written for so long was killed, or hangs.
STALE_S = 10.0
CLOSE_S = 2.0
MOST_BYTES = 1 << 20
_NEEDED = {"format", "written_unix_ms", "running"}

Record = Mapping[str, Any]


def beside(spool: Path) -> Path:
    """Of an edge with a spool."""
    return Path(f"{spool}.status")


def named(folder: Path, device: str, camera: str) -> Path:
    """Of an edge without one; names may hold anything."""
    return folder / f"{file_name(device, camera)}.status"


class StatusFile:
    """``write`` never waits for the disk: a newer record takes the place of one that waits."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._slot: NewestSlot[Record] = NewestSlot()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="saccade-status", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """``format`` and ``written_unix_ms`` are added."""
        written_ms = time.time_ns() // 1_000_000
        self._slot.put({"format": FORMAT, "written_unix_ms": written_ms, **record})

    def close(self) -> None:
        """Write what waits; a disk that hangs is left alone after some seconds."""
        self._slot.close()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (record := self._slot.take()) is not None:
            self._try(record)

    def _try(self, record: Record) -> None:
        """A fault is told once, until it has passed."""
        try:
            _replace(self._path, json.dumps(record))
            self._failed = False
        except (ConfigError, OSError) as error:
            if not self._failed:
                log.warning("the status cannot be written: %s", error)
            self._failed = True


def check_status(path: Path) -> None:
    """Raises ``ConfigError`` where ``path`` is no place for a status, ``OSError``."""
    check_ours(path, _WHAT, _BEGINS)


def read_status(path: Path) -> dict[str, Any]:
    """The last record. Raises ``ConfigError`` where there is none, ``Unreachable`` where the edge
    has ended without saying so.
    """
    try:
        if look(path, _WHAT) is None:
            raise ConfigError(f"no edge has written its status to {path}")
        record = json.loads(head(path, MOST_BYTES))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the status in {path} cannot be read: {error}") from error
    if not isinstance(record, dict) or not record.keys() >= _NEEDED or record["format"] != FORMAT:
        raise ConfigError(f"{path} is no status of format {FORMAT}")
    age_s = time.time() - record["written_unix_ms"] / 1e3
    if record["running"] and age_s > STALE_S:
        raise Unreachable(
            f"the edge that wrote {path} has said nothing since "
            f"{clock(record['written_unix_ms'])}, for {age_s:.0f} s: it was killed, or hangs"
        )
    return record


def clock(unix_ms: int) -> str:
    """Local time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ms / 1e3))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace(path, text.encode(), _WHAT, _BEGINS)
