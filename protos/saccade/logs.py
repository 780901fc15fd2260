"""What the command line writes for people: log records and tracebacks, without secrets."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import threading
import traceback
from types import TracebackType

from saccade.redaction import scrub

FORMAT = "%(asctime)s %(levelname)s %(message)s"


class ScrubbingFormatter(logging.Formatter):
    """Records of every library, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def log_to_stderr(level: int) -> None:
    """Where nobody has set up logging yet."""
    handler = logging.StreamHandler()
    handler.setFormatter(ScrubbingFormatter(FORMAT))
    logging.basicConfig(level=level, handlers=[handler])


def make_output_safe() -> None:
    r"""Tracebacks show no secret, and no character of a text ends a process.

    A terminal that cannot show a character gets its code in its place (``\U0001f697``).
    """
    sys.excepthook = _print_exception
    threading.excepthook = _print_thread_exception
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_line(text: str) -> None:
    """On standard output, at once. A terminal that has been closed ends nobody's work."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        # What is still buffered would fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    sys.stderr.write(scrub("".join(traceback.format_exception(kind, error, trace))))


def _print_thread_exception(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and failed.exc_type is not SystemExit:
        name = failed.thread.name if failed.thread else "?"
        sys.stderr.write(f"Exception in thread {name}:\n")
        _print_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
