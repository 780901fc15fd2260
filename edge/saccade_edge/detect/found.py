"""What a detector's outputs say, whichever their layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.errors import BundleError
from saccade.types import F32
from saccade_edge.detect.boxes import I64, suppress_by_class

# Half precision can miss 0 and 1 by this much.
ROUNDING = 0.01


@dataclass(frozen=True, slots=True)
class Found:
    """``boxes``: [N, 4], as the model writes them; ``scores``: [N]; ``classes``: [N]."""

    boxes: F32
    scores: F32
    classes: I64

    def __getitem__(self, rows: I64 | npt.NDArray[np.bool_]) -> Found:
        return Found(self.boxes[rows], self.scores[rows], self.classes[rows])

    def above(self, score: float) -> Found:
        """Those of at least ``score``, without what is no finite box."""
        return self[(self.scores >= score) & np.isfinite(self.boxes).all(axis=1)]

    def apart(self, iou: float) -> Found:
        """Of those of one class that overlap by more than ``iou`` the best. ``boxes``: xyxy."""
        return self[suppress_by_class(self.boxes, self.scores, self.classes, iou)]


def found(boxes: F32, scores: F32, classes: F32) -> Found:
    """One score and class for each box. Rows whose class is no number are left out."""
    rows = np.isfinite(classes)
    return Found(boxes[rows], scores[rows], classes[rows].astype(np.int64))


def best(boxes: F32, chances: F32) -> Found:
    """``boxes`` [N, 4] and each class's score [N, C]: the best class of each box."""
    classes = chances.argmax(axis=1)
    return Found(boxes, chances.max(axis=1), classes.astype(np.int64))


def chances(scores: F32, how: str, name: str) -> F32:
    """Scores in 0..1. ``how``: as in the manifest's ``detector.scores``.

    Raises ``BundleError`` for scores that need a sigmoid first and are said to be none.
    """
    if how == "sigmoid":
        with np.errstate(over="ignore"):
            return np.asarray(1 / (1 + np.exp(-scores)), np.float32)
    finite = scores[np.isfinite(scores)]
    if finite.size and (finite.min() < -ROUNDING or finite.max() > 1 + ROUNDING):
        raise BundleError(
            f"{name} gives scores from {finite.min():.3g} to {finite.max():.3g}, not 0 to 1: "
            "state detector.scores as sigmoid, or another layout"
        )
    return np.clip(scores, 0, 1)
