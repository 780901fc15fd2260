"""Disks that are small, and system calls that fail."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs at ``folder``; the test is skipped where none can be mounted."""
    folder.mkdir(exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    mount = shutil.which("mount")
    done = mount and subprocess.run(words, capture_output=True, text=True, check=False)
    if not done or done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip() if done else 'no mount'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    """``ro`` or ``rw``; nobody may have a file open for writing."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Leave nothing of the disk free."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (65536, 4096):
            while file.write(bytes(size)) == size:
                pass


@asynccontextmanager
async def failing_syncs(pid: int) -> AsyncIterator[None]:
    """The kernel answers EIO to fsync and fdatasync of a process; skips where strace may not."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not here to make fdatasync fail")
    calls = "fdatasync,fsync"
    words = ("-f", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO")
    pipe = asyncio.subprocess.PIPE
    tracer = await asyncio.create_subprocess_exec(
        strace, *words, "-o", os.devnull, stdin=asyncio.subprocess.DEVNULL, stderr=pipe
    )
    assert tracer.stderr is not None
    try:
        said = (await asyncio.wait_for(tracer.stderr.readline(), 20)).decode()
        if "attached" not in said:
            pytest.skip(f"strace may not trace here: {said.strip()}")
        yield
    finally:
        with suppress(ProcessLookupError):
            tracer.terminate()  # it lets its process go
        await tracer.communicate()
