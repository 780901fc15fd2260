"""May a client still be used? Checked before every call, so that none hangs or fails oddly."""

from __future__ import annotations

import os

from saccade.errors import LocalError

CLOSED_EARLY = "this client was closed before its answer was whole"


class Guard:
    """A client that is closed, or was used before a fork, refuses with ``LocalError``.

    Threads of models and connections stay in the process that started them: in a forked child,
    a call would wait for them for ever. A client that was never used has none, and may be used
    first in the child.
    """

    def __init__(self) -> None:
        self._closed = False
        self._pid: int | None = None  # of the process that used it first

    def use(self) -> None:
        """Before every call. Raises ``LocalError``."""
        if self._closed:
            raise LocalError("this client is closed: open a new one")
        if self._pid is None:
            self._pid = os.getpid()
        if self.forked:
            raise LocalError(
                f"this client was used in process {self._pid} before the fork, and its models and "
                f"connections stay there: open a new one in process {os.getpid()}"
            )

    def close(self) -> None:
        """Refuse from now on."""
        self._closed = True

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def forked(self) -> bool:
        """Whether what the client holds belongs to another process: then nothing here may wait
        for it, or release it.
        """
        return self._pid is not None and self._pid != os.getpid()
