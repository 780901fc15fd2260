"""Regions that moved since the frame before: no model, about a millisecond."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from saccade.types import U8, Frame, Region
from saccade_edge.detect.base import Overview
from saccade_edge.detect.components import components, scale_box

# Changes this near to each other are one thing (rows, columns of the compared picture). Wider than
# high: what drives or walks by leaves its two ends apart from each other, side by side.
JOIN_CELLS = (9, 25)


@dataclass(frozen=True, slots=True)
class MotionSettings:
    """``width_px`` of the small picture that is compared, ``step`` in levels of a channel that
    counts as a change, ``min_cells`` of changed pixels of that picture that count as a thing.
    """

    width_px: int = 160
    step: int = 18
    min_cells: int = 12


class MotionDetector:
    """Frame differencing; remembers the frame before."""

    def __init__(self, settings: MotionSettings | None = None) -> None:
        self._settings = settings or MotionSettings()
        self._before: U8 | None = None

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        now = self._small(frame)
        before, self._before = self._before, now
        if before is None or before.shape != now.shape:
            return []
        # The strongest channel: red on grey can have the grey's own brightness.
        change = np.asarray(cv2.absdiff(now, before).max(axis=2), np.uint8)
        moved = np.asarray(change >= self._settings.step, np.uint8)
        moved = _join(moved)
        return [
            Region(
                scale_box(part.box, (now.shape[0], now.shape[1]), frame.size),
                "motion",
                min(float(change[part.member].mean()) / 64, 1.0),  # 64: a clear change
            )
            for part in components(moved, self._settings.min_cells)
        ]

    def _small(self, frame: Frame) -> U8:
        height, width = frame.size
        small = (self._settings.width_px, max(height * self._settings.width_px // width, 1))
        picture = cv2.resize(frame.picture, small, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0), np.uint8)


def _join(moved: U8) -> U8:
    """A thing of one colour changes at its edges only: closing makes it whole."""
    rows, columns = JOIN_CELLS
    # A border of nothing, or what is near the picture's edge would grow out to it.
    wide = np.pad(moved, ((rows, rows), (columns, columns)))
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, np.ones(JOIN_CELLS, np.uint8))
    return np.asarray(closed[rows:-rows, columns:-columns].copy(), np.uint8)
