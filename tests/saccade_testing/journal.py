"""What an edge process captured and what it was told, line by line, on a disk that has no faults.

A line is written by one system call before the next thing happens: who is killed has said all that
it did. `captured` comes before a packet is handed over, `handed` after it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Identity = tuple[str, int, int]  # device, boot, sequence


class JournalWriter:
    """Appends; a run goes on where the one before was killed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def captured(self, identity: Identity, packet: bytes) -> None:
        self.note("captured", [*identity, base64.b64encode(packet).decode()])

    def handed(self, identity: Identity) -> None:
        self.note("handed", list(identity))

    def note(self, kind: str, what: object) -> None:
        os.write(self._file, f"{json.dumps([kind, what])}\n".encode())


@dataclass
class Journal:
    """``told``: (name of an event, its text), in order."""

    path: Path
    captured: dict[Identity, bytes] = field(default_factory=dict)
    handed: set[Identity] = field(default_factory=set)
    told: list[tuple[str, str]] = field(default_factory=list)
    _read: int = 0

    def follow(self) -> None:
        """Read what is new. A line that is not whole yet waits for its end."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(*json.loads(line))

    def count(self, name: str, says: str = "") -> int:
        """How often an event with this text was told so far."""
        self.follow()
        return sum(name == told and says in text for told, text in self.told)

    def told_last(self, name: str, among: str) -> bool:
        """Whether this event was told, and after the last one called ``among``."""
        self.follow()
        names = [told for told, _ in self.told if told in (name, among)]
        return names[-1:] == [name]

    def _take(self, kind: str, what: list[Any]) -> None:
        if kind == "captured":
            device, boot, sequence, packet = what
            assert (device, boot, sequence) not in self.captured, "a number was given twice"
            self.captured[device, boot, sequence] = base64.b64decode(packet)
        elif kind == "handed":
            self.handed.add((what[0], what[1], what[2]))
        else:
            self.told.append((what[0], what[1]))


def told(name: str, times: int = 1) -> Callable[[Journal], bool]:
    """A condition: this event was told so often."""
    return lambda journal: journal.count(name) >= times


def handed(packets: int) -> Callable[[Journal], bool]:
    """A condition: so many packets were handed over."""
    return lambda journal: len(journal.handed) >= packets
