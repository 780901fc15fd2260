"""Fitting a frame into a detector's input without changing its aspect."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from saccade.nouns import F32, U8

# The grey of the border that YOLO models are trained with.
BORDER = 114


@dataclass(frozen=True, slots=True)
class Letterbox:
    """``input = scale * frame + offset``, offset (x, y) in pixels of the input."""

    scale: float
    offset: tuple[int, int]
    frame_size: tuple[int, int]  # (height, width)

    def to_frame(self, boxes: F32) -> F32:
        """Boxes [N, 4] from pixels of the input to pixels of the frame, cut at its border."""
        shift = np.asarray(self.offset * 2, np.float32)
        height, width = self.frame_size
        limit = np.asarray((width, height, width, height), np.float32)
        return np.asarray(np.clip((boxes - shift) / self.scale, 0, limit), np.float32)


def letterbox(picture: U8, size: tuple[int, int]) -> tuple[U8, Letterbox]:
    """``picture`` [H, W, 3] in the middle of a ``size`` (height, width) canvas."""
    height, width = picture.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = (max(round(height * scale), 1), max(round(width * scale), 1))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas = np.full((*size, 3), BORDER, np.uint8)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(picture, (inner[1], inner[0]), interpolation=how)
    canvas[top : top + inner[0], left : left + inner[1]] = resized
    return canvas, Letterbox(scale, (left, top), (height, width))
