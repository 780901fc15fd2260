"""The frames that the edge saw, read once more for showing."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from saccade.errors import SourceError
from saccade.redaction import redact
from saccade.types import U8, Frame
from saccade_edge.source import FrameError, is_camera, open_source


class Pictures:
    """Walks through a recording in step with an edge that reads the same at the same ``fps``.

    Raises ``SourceError`` for what can't be read, and for a camera: it can't be read twice.
    """

    def __init__(self, source: str, fps: float) -> None:
        if is_camera(source):
            raise SourceError(f"the demo shows recordings, {redact(source)} is none")
        self._source = open_source(source, "demo", fps=fps)

    def at(self, sequence: int) -> U8:
        """Frame ``sequence``, after all that were asked for before: uint8 [H, W, 3] RGB."""
        while (frame := self._next()) is not None:
            if frame.sequence == sequence:
                return frame.picture
        raise SourceError(f"the recording has no frame {sequence} any more")

    def _next(self) -> Frame | None:
        """The next frame that can be read; the edge told of the others."""
        while True:
            with suppress(FrameError):
                return next(self._source, None)

    def __enter__(self) -> Pictures:  # noqa: PYI034 - typing.Self is Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._source.close()
