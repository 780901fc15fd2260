"""A running edge's present state in a small file, for whoever asks from outside.

It is written about once a second, in a thread of its own, and replaced whole: a reader sees one
moment or another, never half of each. It is not synced: after a power cut it may be gone, or old.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from saccade.errors import ConfigError, Unreachable
from saccade.files import check_ours, head, look, replace
from saccade.text import file_name
from saccade_edge.source.newest_slot import NewestSlot

log = logging.getLogger(__name__)

FORMAT = 2
SUFFIX = ".status"
_WHAT = "the status file"
_BEGINS = (b'{"format": ',)
WRITE_S = 1.0
# An edge that has not written for so long was killed, or hangs.
STALE_S = 10.0
CLOSE_S = 2.0
MOST_BYTES = 1 << 20
_NEEDED = {
    "format": int,
    "written_unix_ms": int,
    "running": bool,
}

Record = Mapping[str, Any]
State = Literal["running", "ended", "silent"]


def beside(spool: Path) -> Path:
    """Of an edge with a spool."""
    return Path(f"{spool}{SUFFIX}")


def named(folder: Path, device: str, camera: str) -> Path:
    """Of an edge without one; names may hold anything."""
    return folder / f"{file_name(device, camera)}{SUFFIX}"


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
    """The last record, see `present`. Raises ``ConfigError`` where there is none, ``Unreachable``
    where the edge has ended without saying so.
    """
    record = present(path)
    if record["state"] == "silent":
        raise Unreachable(
            f"the edge that wrote {path} has said nothing since "
            f"{clock(record['written_unix_ms'])}, for {record['age_s']:.0f} s: it was killed, or "
            "hangs"
        )
    return record


def present(path: Path) -> dict[str, Any]:
    """The last record, with what follows from the present time: ``age_s``, since it was written;
    ``state``: ``running``, ``ended``, or ``silent`` where it was killed, or hangs;
    ``last_frame_age_s``, None where no frame came. Raises ``ConfigError`` where there is no record.
    """
    try:
        if look(path, _WHAT) is None:
            raise ConfigError(f"no edge has written its status to {path}")
        record = json.loads(head(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"the status in {path} cannot be read: {error}") from error
    if (
        not isinstance(record, dict)
        or any(type(record.get(key)) is not kind for key, kind in _NEEDED.items())
        or record["format"] != FORMAT
    ):
        raise ConfigError(f"{path} is no status of format {FORMAT}")
    now_s = time.time()
    newest_ms = record.get("last_frame_unix_ms")
    age_s = max(now_s - record["written_unix_ms"] / 1e3, 0.0)
    state: State = "ended" if not record["running"] else "silent" if age_s > STALE_S else "running"
    return record | {
        "path": str(path),
        "state": state,
        "age_s": round(age_s, 1),
        "last_frame_age_s": _age_s(newest_ms, now_s) if isinstance(newest_ms, int) else None,
    }


def present_all(folders: Iterable[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of all edges whose status lies in one of the ``folders``, of each device's camera
    the newest, ordered by their names; and what was found there that is no status.
    """
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    notes: list[str] = []
    for folder in folders:
        try:
            paths = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
        except FileNotFoundError:
            continue
        except OSError as error:
            notes.append(f"{folder} cannot be read: {error.strerror}")
            continue
        for path in paths:
            try:
                record = present(path)
            except ConfigError as error:
                notes.append(error.message)
                continue
            key = (str(record.get("device")), str(record.get("camera")))
            known = newest.get(key)
            if known is None or known["written_unix_ms"] < record["written_unix_ms"]:
                newest[key] = record
    return [newest[key] for key in sorted(newest)], notes


def _age_s(unix_ms: int, now_s: float) -> float:
    return round(max(now_s - unix_ms / 1e3, 0.0), 1)


def clock(unix_ms: int) -> str:
    """Local time, for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ms / 1e3))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    replace(path, text.encode(), _WHAT, _BEGINS)
