"""What a source gives, frames and failures apart."""

from __future__ import annotations

from saccade.nouns import Frame
from saccade_edge.source import FrameError, Source


def read_all(source: Source) -> tuple[list[Frame], list[FrameError]]:
    """Everything until the source ends."""
    frames: list[Frame] = []
    failures: list[FrameError] = []
    while True:
        try:
            frames.append(next(source))
        except FrameError as error:
            failures.append(error)
        except StopIteration:
            return frames, failures
