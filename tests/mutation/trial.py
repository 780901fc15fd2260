"""Tests in a copy of the tree, one pytest at a time in each copy, in a process with a time limit.

A process is forked from this one, which has imported what the tests need from elsewhere, and
nothing of the project: a trial begins in milliseconds instead of seconds.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import google.protobuf.message
import grpc.aio
import hypothesis.stateful
import numpy as np
import pytest
import sqlalchemy
import zstandard

from mutation.mutants import Mutant

PRELOADED = (cv2, google.protobuf.message, grpc.aio, hypothesis.stateful, np, sqlalchemy, zstandard)

_FOLDERS = ("protos", "edge", "cloud", "export", "tests", "")


@dataclass
class Trial:
    """One run of ``tests`` that goes on in ``tree``, with ``mutant`` in place (None: as it is)."""

    tree: Path
    tests: tuple[str, ...]
    limit_s: float
    mutant: Mutant | None = None

    def start(self) -> None:
        if self.mutant is not None:
            self._kept = self._replace(self.mutant)
        self._began = time.monotonic()
        self._pid = os.fork()
        if self._pid == 0:
            _run(self.tree, self.tests, keep_bytecode=self.mutant is None)

    def ended(self) -> int | None:
        """The exit status, None while it runs; -9 after the time limit."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            if time.monotonic() - self._began < self.limit_s:
                return None
            os.killpg(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
        _end_group(self._pid)
        self.seconds = time.monotonic() - self._began
        if self.mutant is not None:
            self._put_back(self.mutant)
        return os.waitstatus_to_exitcode(status)

    def _replace(self, mutant: Mutant) -> tuple[str, int]:
        file = self.tree / mutant.path
        # Python takes a .pyc for fresh if second and size agree; a mutant's may.
        for old in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            old.unlink()
        kept = file.read_text(), file.stat().st_mtime_ns
        file.write_text(mutant.source)
        return kept

    def _put_back(self, mutant: Mutant) -> None:
        file = self.tree / mutant.path
        text, when_ns = self._kept
        file.write_text(text)
        os.utime(file, ns=(when_ns, when_ns))


def copy_tree(root: Path, into: Path) -> Path:
    """The files that git knows or would add, nothing else."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, into / name)
    return into


def _run(tree: Path, tests: tuple[str, ...], *, keep_bytecode: bool) -> None:
    """In the forked process; does not return."""
    status = 70
    try:
        os.setpgid(0, 0)
        os.chdir(tree)
        log = os.open(tree / "mutation.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        # For the commands that tests start: the copy comes before what is installed.
        os.environ["PYTHONPATH"] = os.pathsep.join(str(tree / folder) for folder in _FOLDERS)
        os.environ["HYPOTHESIS_PROFILE"] = "mutation"
        sys.dont_write_bytecode = not keep_bytecode
        if not keep_bytecode:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
    finally:
        os._exit(int(status))


def _end_group(group: int) -> None:
    """Ends what a killed trial's tests had started."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
