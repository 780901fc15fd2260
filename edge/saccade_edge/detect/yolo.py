"""A YOLO of the user's or the bundle's, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from saccade.errors import BundleError
from saccade.nouns import F32, U8, Frame, Region
from saccade_edge.detect.base import Overview
from saccade_edge.detect.layouts import read_output
from saccade_edge.detect.letterbox import letterbox
from saccade_edge.runtime import Model, RuntimeSettings


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
        self._model = Model(model, runtime)
        self._input = _check_input(self._model, size)
        self._size = size
        self._labels = labels
        self._score = score
        self._iou = iou

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return self._model.providers

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        canvas, box = letterbox(frame.picture, self._size)
        (output,) = self._model.run(self._model.outputs[:1], {self._input: _blob(canvas)})
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


def _check_input(model: Model, size: tuple[int, int]) -> str:
    """The input's name, when it takes float32 [1, 3, height, width]."""
    (port, *others) = model.inputs
    wanted = (1, 3, *size)
    fits = len(port.shape) == 4 and all(
        not isinstance(has, int) or has == wants
        for has, wants in zip(port.shape, wanted, strict=True)
    )
    if others or not fits or port.kind != "tensor(float)":
        raise BundleError(
            f"{model.name} takes {port.kind} {list(port.shape)}, "
            f"the manifest says float32 {list(wanted)}"
        )
    return port.name
