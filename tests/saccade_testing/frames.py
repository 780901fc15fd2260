"""What a source gives, frames and failures apart."""

from __future__ import annotations

from saccade.types import Frame
from saccade_edge.source import FrameError, Source


def read_all(source: Source) -> tuple[list[Frame], list[FrameError]]:
    """Everything until the source ends."""
    frames: list[Frame] = []
    failures: list[FrameError] = []
    while (item := _next(source)) is not None:
        if isinstance(item, Frame):
            frames.append(item)
        else:
            failures.append(item)
    return frames, failures


def _next(source: Source) -> Frame | FrameError | None:
    try:
        return next(source, None)
    except FrameError as error:
        return error
