"""Arithmetic of boxes ``(x0, y0, x1, y1)``, in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.types import F32

I64 = npt.NDArray[np.int64]
MAX_CANDIDATES = 3000


def area(boxes: F32) -> F32:
    """[N] areas of ``boxes`` [N, 4]; an inverted box has none."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides.prod(axis=1), np.float32)


def overlap(box: F32, boxes: F32) -> F32:
    """[N] intersection over union of ``box`` [4] with ``boxes`` [N, 4]."""
    corner0 = np.maximum(box[:2], boxes[:, :2])
    corner1 = np.minimum(box[2:], boxes[:, 2:])
    shared = np.clip(corner1 - corner0, 0, None).prod(axis=1)
    union = area(box[None]) + area(boxes) - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def to_corners(boxes: F32, written: str, size: tuple[int, int]) -> F32:
    """[N, 4] xyxy in pixels of a ``size`` (height, width) picture. ``written``: as in the
    manifest's ``detector.boxes``.
    """
    how, _, unit = written.partition("-")
    first, second = boxes[:, :2], boxes[:, 2:]
    if how == "cxcywh":
        half = second / np.float32(2)
        first, second = first - half, first + half
    elif how == "yxyx":
        first, second = first[:, ::-1], second[:, ::-1]
    scale = np.asarray((size[1], size[0]) * 2 if unit == "normalised" else (1,) * 4, np.float32)
    return np.asarray(np.concatenate([first, second], axis=1) * scale, np.float32)


def suppress(boxes: F32, scores: F32, iou: float) -> I64:
    """Greedy non-maximum suppression: indices that stay, best score first.

    ``boxes``: [N, 4], ``scores``: [N]. Of two boxes that overlap by more than ``iou`` the
    better stays; equal scores: the lower index.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[overlap(boxes[best], boxes[order]) <= iou]
    return np.asarray(kept, np.int64)


def suppress_by_class(boxes: F32, scores: F32, classes: I64, iou: float) -> I64:
    """``suppress`` within each class, in one pass: classes are moved apart by an offset.

    Of more than `MAX_CANDIDATES` the best are looked at: a model that finds something everywhere
    must not hold up a camera.
    """
    if not len(boxes):
        return np.empty(0, np.int64)
    best = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    boxes, scores, classes = boxes[best], scores[best], classes[best]
    apart = (boxes.max() - boxes.min() + 1) * classes.astype(np.float32)
    return np.asarray(best[suppress(boxes + apart[:, None], scores, iou)], np.int64)
