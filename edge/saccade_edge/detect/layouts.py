"""What a detector's output means, told from its shape alone.

Metadata lies more often than shapes do: exporters set the same flags for different graphs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saccade.errors import BundleError
from saccade.nouns import F32
from saccade_edge.detect.boxes import I64, suppress_by_class


@dataclass(frozen=True, slots=True)
class Found:
    """``boxes``: [N, 4] xyxy in pixels of the input; ``scores``: [N]; ``classes``: [N]."""

    boxes: F32
    scores: F32
    classes: I64

    def __getitem__(self, rows: I64) -> Found:
        return Found(self.boxes[rows], self.scores[rows], self.classes[rows])


def read_output(output: F32, labels: int, score: float, iou: float) -> Found:
    """One picture's detections of at least ``score``, overlaps above ``iou`` removed.

    ``output``: [1, 4 + labels, A] (centre, size, one score per class: YOLOv8 to 11) or
    [1, N, 6] (corners, score, class: end-to-end, nothing overlaps). Raises ``BundleError``.
    """
    shape = output.shape
    if len(shape) == 3 and shape[0] == 1:
        if shape[1] == 4 + labels:
            return _read_anchors(output[0], score, iou)
        if shape[2] == 6:
            return _read_end_to_end(output[0], labels, score)
    raise BundleError(
        f"the detector gives {list(shape)}: neither [1, {4 + labels}, A] nor [1, N, 6]"
    )


def _read_anchors(rows: F32, score: float, iou: float) -> Found:
    chances = rows[4:]
    classes = chances.argmax(axis=0)
    scores = chances.max(axis=0)
    likely = np.flatnonzero(scores >= score)
    centre, half = rows[:2, likely].T, rows[2:4, likely].T / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    found = Found(boxes, scores[likely], classes[likely].astype(np.int64))
    return found[suppress_by_class(found.boxes, found.scores, found.classes, iou)]


def _read_end_to_end(rows: F32, labels: int, score: float) -> Found:
    classes = rows[:, 5].astype(np.int64)
    valid = (rows[:, 4] >= score) & (classes >= 0) & (classes < labels)
    chosen = np.flatnonzero(valid)
    return Found(rows[:, :4], rows[:, 4], classes)[chosen]
