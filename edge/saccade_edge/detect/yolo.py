"""A YOLO of the user's or the bundle's, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort

from saccade.errors import BundleError
from saccade.nouns import F32, U8, Frame, Region
from saccade_edge.detect.base import Overview
from saccade_edge.detect.layouts import read_output
from saccade_edge.detect.letterbox import letterbox
from saccade_edge.runtime import RuntimeSettings, open_session


class YoloDetector:
    """``size``: (height, width) of the input; ``labels`` in the order of the model's classes."""

    def __init__(
        self,
        model: Path,
        *,
        size: tuple[int, int],
        labels: tuple[str, ...],
        score: float,
        iou: float,
        runtime: RuntimeSettings,
    ) -> None:
        self._session = open_session(model, runtime)
        self._input = _check_input(self._session, size, model.name)
        self._size = size
        self._labels = labels
        self._score = score
        self._iou = iou

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return tuple(self._session.get_providers())

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        canvas, box = letterbox(frame.picture, self._size)
        output = self._session.run(None, {self._input: _blob(canvas)})[0]
        output = np.asarray(output, np.float32)
        found = read_output(output, len(self._labels), self._score, self._iou)
        return [
            Region((float(x0), float(y0), float(x1), float(y1)), self._labels[kind], float(score))
            for (x0, y0, x1, y1), score, kind in zip(
                box.to_frame(found.boxes), found.scores, found.classes, strict=True
            )
            if x1 - x0 >= 1 and y1 - y0 >= 1  # what lies in the border is nothing
        ]


def _blob(canvas: U8) -> F32:
    """uint8 [H, W, 3] to float32 [1, 3, H, W] in 0..1."""
    planes = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
    return np.asarray(planes / np.float32(255), np.float32)


def _check_input(session: ort.InferenceSession, size: tuple[int, int], name: str) -> str:
    """The input's name, when it takes float32 [1, 3, height, width]."""
    (entry, *others) = session.get_inputs()
    fits = len(entry.shape) == 4 and all(
        not isinstance(has, int) or has == wants
        for has, wants in zip(entry.shape, (1, 3, *size), strict=True)
    )
    if others or not fits or entry.type != "tensor(float)":
        raise BundleError(
            f"{name} takes {entry.type} {entry.shape}, the manifest says float32 {[1, 3, *size]}"
        )
    return str(entry.name)
