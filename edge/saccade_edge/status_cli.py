"""``saccade edge status``: how the edges of this machine stand."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from saccade.errors import ConfigError
from saccade.paths import expand, state_folder
from saccade_edge.status_file import beside, present_all, read_status
from saccade_edge.status_report import status_lines

# Where systemd keeps the state of a service with ``StateDirectory=saccade``.
SYSTEM_STATE = Path("/var/lib/saccade")


def register_status(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``saccade edge status``."""
    summary = "how the edges of this machine stand, or one of them, and why"
    status = commands.add_parser("status", help=summary, description=summary)
    status.add_argument("--camera", metavar="NAME", help="the edge of this camera")
    status.add_argument("--device", metavar="ID", help="the edge of this device")
    status.add_argument("--spool", type=Path, metavar="PATH", help="the edge that uses this spool")
    status.add_argument(
        "--json", action="store_true", help="a list of JSON objects; of one edge, its object"
    )
    status.set_defaults(run=_show_status)


def state_folder_of_user() -> Path:
    """Raises ``ConfigError`` for a user without a home."""
    return state_folder("--spool PATH or --spool none")


def _show_status(arguments: argparse.Namespace) -> int:
    if arguments.spool is arguments.camera is arguments.device is None:
        return _list_status(arguments.json)
    record = read_status(_status_path(arguments))
    print(json.dumps(record) if arguments.json else "\n".join(status_lines(record)))
    return 0


def _list_status(as_json: bool) -> int:
    """All edges; what is no status is named on the error stream."""
    folders = _state_folders()
    records, notes = present_all(folders)
    shown = []
    for record in records:
        try:
            shown.append("\n".join(status_lines(record)))
        except (LookupError, TypeError, ValueError, OverflowError, OSError):
            notes.append(f"{record['path']} is not as an edge writes it")
        else:
            continue
        records = [other for other in records if other is not record]
    for note in notes:
        print(f"left out: {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(records))
    else:
        nobody = f"no edge has written its status to {', '.join(map(str, folders))}"
        print("\n\n".join(shown) or nobody)
    return 0


def _status_path(arguments: argparse.Namespace) -> Path:
    """Of the one edge that is meant. Raises ``ConfigError`` where that is none, or not clear."""
    if arguments.spool is not None:
        return beside(expand(arguments.spool))
    wanted = {"camera": arguments.camera, "device": arguments.device}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    words = ", ".join(f"{name} {value!r}" for name, value in wanted.items())
    folders = _state_folders()
    records, notes = present_all(folders)
    found = [r for r in records if all(r.get(name) == value for name, value in wanted.items())]
    if len(found) == 1:
        return Path(found[0]["path"])
    if not found:
        where = ", ".join(map(str, folders))
        raise ConfigError(
            "; ".join([f"no edge of {words} has written its status to {where}", *notes])
        )
    names = ", ".join(f"{r.get('device')}/{r.get('camera')}" for r in found)
    raise ConfigError(f"{len(found)} edges of {words}: {names}; say --camera and --device")


def _state_folders() -> list[Path]:
    """Where edges of this machine write their status: this user's folders, and systemd's."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")
    folders = [*(Path(each) for each in given if each), SYSTEM_STATE]
    with suppress(ConfigError):  # a user without a home has no edges
        folders.insert(0, state_folder_of_user())
    return list(dict.fromkeys(folders))
