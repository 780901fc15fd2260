"""Digests of large files, remembered from one start to the next.

Hashing a language model takes seconds, and it is the same file each time. A file is taken for the
one that was hashed while device, inode, size, and the times of its last change and of its inode's
are the same: whoever writes to it changes these. What was changed in the last two seconds is not
remembered, since the clock of a file system may not tell two changes apart.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from saccade import files
from saccade.errors import ConfigError
from saccade.paths import state_folder

LARGE_BYTES = 1 << 26  # smaller files are hashed each time, in a tenth of a second
MAX_KNOWN = 1000
MAX_FILE_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000
_BEGINS = (b'{"saccade digests":',)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file, in which state."""

    device: int
    inode: int
    size: int
    changed_ns: int
    inode_changed_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    @property
    def key(self) -> str:
        numbers = (self.device, self.inode, self.size, self.changed_ns, self.inode_changed_ns)
        return "-".join(map(str, numbers))

    @property
    def settled(self) -> bool:
        """Whether the last change is long enough ago."""
        latest = max(self.changed_ns, self.inode_changed_ns)
        return latest + _SETTLED_NS < time.time_ns()


class KnownDigests:
    """``path``: None remembers as long as the process runs. Safe from several threads.

    A file that cannot be read or written costs hashing again, nothing else.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, str] | None = None
        self._lock = Lock()

    def get(self, identity: Identity) -> str | None:
        """The SHA-256 of that file, 64 hex digits, if it is known."""
        with self._lock:
            return self._all().get(identity.key)

    def put(self, identity: Identity, sha256: str) -> None:
        """Remember a large file that has settled."""
        if identity.size < LARGE_BYTES or not identity.settled:
            return
        with self._lock:
            known = self._all()
            known[identity.key] = sha256
            while len(known) > MAX_KNOWN:
                del known[next(iter(known))]
            self._write(known)

    def _all(self) -> dict[str, str]:
        if self._known is None:
            self._known = _read(self._path) if self._path else {}
        return self._known

    def _write(self, known: dict[str, str]) -> None:
        if self._path is None:
            return
        data = json.dumps({"saccade digests": known}).encode()
        with suppress(OSError, ConfigError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.replace(self._path, data, "the file of known digests", _BEGINS)


def _read(path: Path) -> dict[str, str]:
    """What the file says, nothing where it is not ours or not whole."""
    with suppress(OSError, ConfigError, ValueError, RecursionError, AttributeError):
        if files.check_ours(path, "the file of known digests", _BEGINS):
            data = files.head(path, MAX_FILE_BYTES)
            known = json.loads(data)["saccade digests"]
            return {str(key): str(value) for key, value in known.items()}
    return {}


def of_this_user() -> KnownDigests:
    """Kept with the user's other state."""
    try:
        return KnownDigests(state_folder("XDG_STATE_HOME") / "digests.json")
    except ConfigError:
        return KnownDigests(None)


DIGESTS = of_this_user()
