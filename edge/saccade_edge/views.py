"""Crop planning: from regions to the windows that the encoder looks at.

One overview of the whole frame, up to R crops, and close-ups of what is small inside a crop. A
window always holds its region whole (no object is cut in two), has the encoder's aspect, and
stays inside the frame where it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from saccade.manifest import EncoderSpec
from saccade.types import U8, Box, Frame, Region, View


def plan_window(
    box: Box, frame_size: tuple[int, int], view_size: tuple[int, int], margin: float, min_px: float
) -> Box:
    """The window for one region: grown by ``margin`` of its size, then to the view's aspect.

    ``box`` in pixels; sizes are (height, width). The window may reach beyond the frame only
    when the region itself is larger than any window of that aspect inside the frame: then the
    missing border is black, so that the region stays whole.
    """
    height, width = frame_size
    aspect = view_size[1] / view_size[0]
    x0, y0, x1, y1 = box
    w = max((x1 - x0) * (1 + 2 * margin), min_px)
    h = max((y1 - y0) * (1 + 2 * margin), min_px / aspect)
    w, h = max(w, h * aspect), max(h, w / aspect)
    left = _place((x0 + x1) / 2 - w / 2, w, width)
    top = _place((y0 + y1) / 2 - h / 2, h, height)
    return (left, top, left + w, top + h)


def _place(start: float, length: float, limit: float) -> float:
    """Shift an interval into 0..limit, or centre it there when it is longer."""
    if length >= limit:
        return (limit - length) / 2
    return min(max(start, 0.0), limit - length)


def resample(picture: U8, window: Box, view_size: tuple[int, int]) -> U8:
    """``window`` of ``picture`` at ``view_size`` (height, width): uint8 [h, w, 3], black outside.

    Area averaging when it shrinks, bilinear when it grows; windows are rounded to pixels.
    """
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(v) for v in window)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    inner = picture[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    if (x0, y0, x1, y1) != (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)):
        canvas = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        top, left = max(-y0, 0), max(-x0, 0)
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        inner = canvas
    shrinks = inner.shape[0] >= view_size[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(inner, (view_size[1], view_size[0]), interpolation=how), np.uint8)


def holder(region: Region, crops: Sequence[Region]) -> int | None:
    """The slot, from 1, of the crop's region that holds the centre of ``region``.

    Of several the one that reaches furthest down: on level ground it is the nearest to the
    camera, and hides the others.
    """
    x, y = (region.box[0] + region.box[2]) / 2, (region.box[1] + region.box[3]) / 2
    around = [
        (crop.box[3], slot)
        for slot, crop in enumerate(crops, 1)
        if crop.box[0] <= x <= crop.box[2] and crop.box[1] <= y <= crop.box[3]
    ]
    return max(around)[1] if around else None


@dataclass(frozen=True, slots=True)
class Closeup:
    """A region inside the crop of slot ``of``, from 1."""

    of: int
    region: Region


@dataclass(frozen=True, slots=True)
class Cutter:
    """Cuts the views that an encoder was trained on; margins as in the manifest's EncoderSpec."""

    view_size: tuple[int, int]
    crop_margin: float
    closeup_margin: float
    min_px: float

    @classmethod
    def of(cls, spec: EncoderSpec) -> Cutter:
        return cls(spec.view_size, spec.crop_margin, spec.closeup_margin, spec.crop_min_px)

    def overview(self, frame: Frame) -> View:
        """The whole frame."""
        height, width = frame.size
        whole = (0.0, 0.0, float(width), float(height))
        return View("overview", whole, resample(frame.picture, whole, self.view_size))

    def views(
        self, frame: Frame, crops: Sequence[Region], closeups: Sequence[Closeup] = ()
    ) -> list[View]:
        """The overview, the crops and the close-ups, in their order."""
        views = [self.overview(frame)]
        views += (View("crop", *self._cut(frame, r, self.crop_margin), r) for r in crops)
        for near in closeups:
            cut = self._cut(frame, near.region, self.closeup_margin)
            views.append(View("closeup", *cut, near.region, near.of))
        return views

    def _cut(self, frame: Frame, region: Region, margin: float) -> tuple[Box, U8]:
        window = plan_window(region.box, frame.size, self.view_size, margin, self.min_px)
        return window, resample(frame.picture, window, self.view_size)
