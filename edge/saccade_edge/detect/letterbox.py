"""Fitting a frame into a detector's input, and its boxes back into the frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from saccade.types import F32, U8

# The grey of the border that YOLO models are trained with.
BORDER = 114


@dataclass(frozen=True, slots=True)
class Placement:
    """``input = scale * frame + offset``, both (x, y); ``offset`` in pixels of the input."""

    scale: tuple[float, float]
    offset: tuple[int, int]
    frame_size: tuple[int, int]  # (height, width)

    def to_frame(self, boxes: F32) -> F32:
        """Boxes [N, 4] from pixels of the input to pixels of the frame, cut at its border."""
        shift = np.asarray(self.offset * 2, np.float32)
        scale = np.asarray(self.scale * 2, np.float32)
        height, width = self.frame_size
        limit = np.asarray((width, height, width, height), np.float32)
        return np.asarray(np.clip((boxes - shift) / scale, 0, limit), np.float32)


def place(
    picture: U8, size: tuple[int, int], fit: str = "letterbox", border: int = BORDER
) -> tuple[U8, Placement]:
    """``picture`` [H, W, 3] on a ``size`` (height, width) canvas: in its middle ("letterbox"), at
    its top left ("letterbox-top-left"), or stretched over all of it ("stretch").
    """
    height, width = picture.shape[:2]
    inner = size if fit == "stretch" else _inner(picture, size)
    spare = (size[0] - inner[0], size[1] - inner[1])
    top, left = (spare[0] // 2, spare[1] // 2) if fit == "letterbox" else (0, 0)
    canvas = np.full((*size, 3), border, np.uint8)
    how = cv2.INTER_AREA if inner[0] < height else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (inner[1], inner[0]), interpolation=how)
    canvas[top : top + inner[0], left : left + inner[1]] = resized
    return canvas, Placement((inner[1] / width, inner[0] / height), (left, top), (height, width))


def _inner(picture: U8, size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the whole picture at the largest scale that fits ``size``."""
    height, width = picture.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    return max(round(height * scale), 1), max(round(width * scale), 1)
