"""Crop planning: from regions to the windows that the encoder looks at.

One overview of the whole frame, up to R crops, and close-ups of what is small inside a crop. A
window always holds its region whole (no object is cut in two), has the encoder's aspect or the
region's own, and stays inside the frame where it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from saccade.manifest import NO_REGIONS, Manifest, RegionSpec
from saccade.spec import EncoderSpec, view_layout, window_px
from saccade.types import U8, Box, Frame, Region, View, ViewKind
from saccade.views_header import wire_window
from saccade_edge.preprocess import resize, tiles


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


def free_window(box: Box, frame_size: tuple[int, int], margin: float, min_px: float) -> Box:
    """The window for one region: grown by ``margin`` of its size, at least ``min_px`` each way,
    inside the frame.
    """
    height, width = frame_size
    x0, y0, x1, y1 = box
    w = min(max((x1 - x0) * (1 + 2 * margin), min_px), width)
    h = min(max((y1 - y0) * (1 + 2 * margin), min_px), height)
    left, top = _place((x0 + x1) / 2 - w / 2, w, width), _place((y0 + y1) / 2 - h / 2, h, height)
    return (left, top, left + w, top + h)


def _place(start: float, length: float, limit: float) -> float:
    """Shift an interval into 0..limit, or centre it there when it is longer."""
    if length >= limit:
        return (limit - length) / 2
    return min(max(start, 0.0), limit - length)


def cut(picture: U8, window: Box) -> U8:
    """``window`` of ``picture``, rounded to pixels: uint8 [h, w, 3], black outside."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(v) for v in window)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    inner = picture[max(y0, 0) : min(y1, height), max(x0, 0) : min(x1, width)]
    if (x0, y0, x1, y1) != (max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)):
        canvas = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
        top, left = max(-y0, 0), max(-x0, 0)
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        inner = canvas
    return inner


def resample(picture: U8, window: Box, view_size: tuple[int, int]) -> U8:
    """``window`` of ``picture`` at ``view_size`` (height, width): uint8 [h, w, 3], black outside.

    Area averaging when it shrinks, bilinear when it grows; windows are rounded to pixels.
    """
    return resize(cut(picture, window), view_size, "area")


def normalised(window: Box, size: tuple[int, int]) -> Box:
    """A window in pixels as parts of a frame of ``size`` (height, width)."""
    height, width = size
    x0, y0, x1, y1 = window
    return (x0 / width, y0 / height, x1 / width, y1 / height)


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
    """Cuts the views that a bundle's model takes. ``images``: how many images the prompt will have,
    None: as many as the frame has views.
    """

    encoder: EncoderSpec
    regions: RegionSpec
    images: int | None = None

    @classmethod
    def of(cls, manifest: Manifest, images: int | None = None) -> Cutter:
        return cls(manifest.encoder, manifest.regions or NO_REGIONS, images)

    def overview(self, frame: Frame, images: int = 1) -> View:
        """The whole frame, one of ``images``."""
        height, width = frame.size
        whole = (0.0, 0.0, float(width), float(height))
        return self._view("overview", frame, whole, self.images or images)

    def views(
        self,
        frame: Frame,
        crops: Sequence[Region],
        closeups: Sequence[Closeup] = (),
        *,
        overview: bool = True,
    ) -> list[View]:
        """The overview, the crops and the close-ups, in their order."""
        images = self.images or overview + len(crops) + len(closeups)
        views = [self.overview(frame, images)] if overview else []
        for region in crops:
            window = self._window(frame, region, self.regions.crop_margin)
            views.append(replace(self._view("crop", frame, window, images), region=region))
        for near in closeups:
            window = self._window(frame, near.region, self.regions.closeup_margin)
            view = self._view("closeup", frame, window, images)
            views.append(replace(view, region=near.region, closeup_of=near.of))
        return views

    def _view(self, kind: ViewKind, frame: Frame, window: Box, images: int) -> View:
        # Laid out by what the wire will say of the window, as the cloud does.
        seen = wire_window(normalised(window, frame.size))
        size = window_px(frame.size, seen)[2:] if kind != "overview" else frame.size
        layout = view_layout(self.encoder.geometry, size, images)
        pixels = tiles(cut(frame.picture, window), layout, self.encoder.preprocess, images)
        return View(kind, window, pixels, layout)

    def _window(self, frame: Frame, region: Region, margin: float) -> Box:
        """In pixels; of any aspect where the bundle says so, and then as the wire rounds it."""
        min_px = self.regions.crop_min_px
        if self.regions.aspect == "tile":
            tile = self.encoder.geometry.inputs[0]
            return plan_window(region.box, frame.size, tile, margin, min_px)
        window = free_window(region.box, frame.size, margin, min_px)
        top, left, height, width = window_px(
            frame.size, wire_window(normalised(window, frame.size))
        )
        return (float(left), float(top), float(left + width), float(top + height))
