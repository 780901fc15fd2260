"""What Linux says about a process: memory, processor time, open files, what it keeps on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Kilobytes (1,024 bytes). ``private``: pages of its own that it wrote to."""

    rss_kb: int
    private_kb: int


def memory(pid: int) -> Memory:
    """Of one process, its shared libraries included. Raises ``OSError`` when it is gone."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return Memory(fields["Rss"], fields["Private_Dirty"])


def processor_s(pid: int) -> float:
    """Seconds of processor time that it has used, in all threads."""
    # The second field, the program's name, may hold anything but ends with the last bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_HZ


def descriptors(pid: int) -> int:
    """Open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextmanager
def state_folder() -> Iterator[Path]:
    """Where processes that are started meanwhile keep their state: not among the user's own."""
    before = os.environ.get("STATE_DIRECTORY")
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
        os.environ["STATE_DIRECTORY"] = folder
        try:
            yield Path(folder)
        finally:
            del os.environ["STATE_DIRECTORY"]
            if before is not None:
                os.environ["STATE_DIRECTORY"] = before


def bytes_in(folder: Path, pattern: str) -> int:
    """Of the files there whose names match."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())
