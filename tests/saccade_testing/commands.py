"""The command line in processes of its own, and what is left of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

READY = re.compile(r"serving .+ \(digest [0-9a-f]{12}\) on (127\.0\.0\.1:\d+)\n")
MARK = "SACCADE_TEST_MARK"
KEEP_NOTHING = ("--store", "memory:")  # the default is a file in this user's home
# One thread each: tests share a small machine, and sums in one order give one answer.
QUIET: Mapping[str, str] = {"OMP_NUM_THREADS": "1"}


def importing() -> dict[str, str]:
    """The environment of a Python process that can import what this one can."""
    return {**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "saccade", *words]


def run(*words: str, timeout_s: float = 60, mark: str = "") -> subprocess.CompletedProcess[str]:
    """To its end; ``mark`` is inherited by every process that it starts."""
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **QUIET, MARK: mark},
    )


def start(*words: str, mark: str = "") -> subprocess.Popen[str]:
    """Left running, with pipes."""
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **QUIET, MARK: mark},
    )


@contextmanager
def cloud_process(bundle: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A serving cloud and its address."""
    here = ("--listen", "127.0.0.1:0", "--bundle", str(bundle), *KEEP_NOTHING)
    process = start("cloud", "serve", *here, *words)
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            found = READY.fullmatch(line)
            assert found, line
            yield process, found[1]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            finally:
                process.kill()


def marked(mark: str) -> list[int]:
    """Processes that still run and were started with ``mark``, directly or not."""
    wanted = f"{MARK}={mark}".encode()
    environs = Path("/proc").glob("[0-9]*/environ")
    return [int(each.parent.name) for each in environs if wanted in _words(each)]


def _words(environ: Path) -> list[bytes]:
    """None for a process that has ended or isn't ours."""
    with suppress(OSError):
        return environ.read_bytes().split(b"\0")
    return []
