"""The demo's other processes: started like a user starts them, and never left behind."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from saccade.errors import RemoteError

READY_S = 30.0  # loading a model from a cold disk takes seconds
STOP_S = 5.0
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READY = re.compile(r"serving .* on (\S+)")

Line = tuple[float, str]  # monotonic time of arrival, text


class Process:
    """``saccade WORDS...`` (or another ``module``) in a process of its own; ``name`` stands in
    errors.
    """

    def __init__(self, name: str, words: Sequence[str], module: str = "saccade") -> None:
        self._name = name
        # A file, not a pipe: nobody reads it unless the process fails.
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by stop
        self._lines: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Ctrl-C reaches us alone: we end the others in good order.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"demo-{name}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self, timeout_s: float) -> Line | None:
        """The next line; None when the process has said all. Raises ``RemoteError``: too late."""
        try:
            return self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise RemoteError(f"the {self._name} said nothing for {timeout_s:g} s") from None

    def failure(self) -> str:
        """What it said on its way out; empty when it ended well."""
        if self._process.wait(STOP_S) == 0:
            return ""
        self._errors.seek(0)
        said = [line for line in self._errors.read().splitlines() if line.strip()]
        last = said[-1] if said else f"ended with status {self._process.returncode}"
        return f"the {self._name}: {last.removeprefix('saccade: error: ')}"

    def stop(self) -> None:
        """End it: politely, then by force. Stopping twice is safe."""
        try:
            self._process.terminate()
            self._process.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(STOP_S)
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put((time.monotonic(), line))
        self._lines.put(None)


@contextmanager
def running(name: str, words: Sequence[str], module: str = "saccade") -> Iterator[Process]:
    """A process that has ended when the ``with`` statement has."""
    process: Process | None = None
    try:
        with _uninterrupted():
            process = Process(name, words, module)
        yield process
    finally:
        if process is not None:
            process.stop()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits for the end: none may come between a process and who stops it."""
    heard: list[int] = []
    handlers = {n: signal.signal(n, lambda n, _: heard.append(n)) for n in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt


def address_of(cloud: Process) -> str:
    """Where a ``saccade cloud serve`` listens, once it does. Raises ``RemoteError``."""
    line = cloud.line(READY_S)
    found = _READY.match(line[1]) if line else None
    if found is None:
        raise RemoteError(cloud.failure() or f"the cloud did not start, it said {line}")
    return found[1]
