"""What a source promises.

A source gives the frames of one camera in the order of capture. ``sequence`` is the 1-based
number of the frame in its source, so sampled or dropped frames leave gaps and a recorded
frame keeps its number in every run. ``close`` may be called from any thread and any number
of times; the iteration then ends.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from saccade.nouns import Frame

if TYPE_CHECKING:
    from typing_extensions import Self


class Source(Iterator[Frame]):
    """Frames of one camera. Close it, or use it in a ``with`` statement."""

    @property
    @abstractmethod
    def live(self) -> bool:
        """True when frames arrive in their own time and old ones are replaced by new ones."""

    @abstractmethod
    def close(self) -> None:
        """Release the file or camera; a waiting ``next`` ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class RecordedSource(Source):
    """Every frame of a recording, each when it is asked for."""

    def __init__(
        self, frames: Generator[Frame, None, None], release: Callable[[], None] | None = None
    ) -> None:
        self._frames = frames
        self._release = release
        # A generator that runs in another thread cannot be closed: close waits for its step.
        self._turn = threading.Lock()

    @property
    def live(self) -> bool:
        return False

    def __next__(self) -> Frame:
        with self._turn:
            return next(self._frames)

    def close(self) -> None:
        with self._turn:
            self._frames.close()
            if self._release is not None:
                self._release()
                self._release = None
