"""What a source promises.

A source gives the frames of one camera in the order of capture. ``sequence`` is the 1-based
number of the frame in its source, so sampled or dropped frames leave gaps and a recorded
frame keeps its number in every run. ``next`` raises `FrameError` for one frame that cannot be had,
and goes on with the one after it when it is called again; any other error ends the source.
``close`` may be called from any thread and any number of times; the iteration then ends.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from saccade.errors import SourceError
from saccade.types import Frame

# How long `Source.close` waits for a read that is under way. It ends by its own time-out then.
CLOSE_WAIT_S = 0.3

if TYPE_CHECKING:
    from typing_extensions import Self


class FrameError(SourceError):
    """One frame cannot be had. ``name`` as in `Frame`."""

    def __init__(self, message: str, sequence: int, name: str = "") -> None:
        super().__init__(message)
        self.sequence = sequence
        self.name = name


@dataclass(frozen=True, slots=True)
class CameraState:
    """What the reader of a camera knows of it. ``since_unix_ms``: since when it is ``readable``, or
    is not, and then ``trouble`` says why. ``next_try_unix_ms``: when it is opened again; None while
    it is open, or being opened. ``last_frame_unix_ms``: when the newest frame came; None: none yet.
    """

    readable: bool
    since_unix_ms: int
    trouble: str = ""
    next_try_unix_ms: int | None = None
    last_frame_unix_ms: int | None = None


class Source(Iterator[Frame]):
    """Frames of one camera. Close it, or use it in a ``with`` statement."""

    @property
    @abstractmethod
    def live(self) -> bool:
        """True when frames arrive in their own time and old ones are replaced by new ones."""

    @property
    def gated(self) -> bool:
        """Whether a frame that shows nothing new may be skipped; False: each one is a picture that
        somebody wants looked at.
        """
        return True

    @property
    def camera_state(self) -> CameraState | None:
        """None where there is no camera. May be asked from any thread."""
        return None

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
    """Every frame of a recording, each when it is asked for. ``frames`` yields an error in the
    place of a frame that cannot be had; ``interrupt`` has a step of it that takes long end soon.
    """

    def __init__(
        self,
        frames: Generator[Frame | FrameError, None, None] | Generator[Frame, None, None],
        release: Callable[[], None] | None = None,
        *,
        gated: bool = True,
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self._frames = frames
        self._release = release
        self._interrupt = interrupt
        self._gated = gated
        # A generator that runs in another thread cannot be closed: close waits for its step.
        self._turn = threading.Lock()

    @property
    def live(self) -> bool:
        return False

    @property
    def gated(self) -> bool:
        return self._gated

    def __next__(self) -> Frame:
        with self._turn:
            item = next(self._frames)
        if isinstance(item, FrameError):
            raise item
        return item

    def close(self) -> None:
        if self._interrupt is not None:
            self._interrupt()
        with self._turn:
            self._frames.close()
            if self._release is not None:
                self._release()
                self._release = None
