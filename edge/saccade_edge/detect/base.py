"""What a detector promises.

``find`` gives the regions of a frame in pixels of the frame, inside it, in any order. It may
keep state between calls (motion does), so each camera has a detector of its own, and frames
come to it in order of capture. It may ask for the frame's encoded overview, which costs one
run of the encoder that the pipeline then need not repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from saccade.types import Frame, Region, TokenGrid

Overview = Callable[[], TokenGrid]


class Detector(Protocol):
    """See above."""

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        """Regions worth a closer look, unordered."""
        ...
