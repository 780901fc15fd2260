"""A detector of the user's or the bundle's, run by ONNX Runtime."""

from __future__ import annotations

import numpy as np

from saccade.bundle_files import ModelFile
from saccade.detector_layouts import LAYOUTS
from saccade.manifest import DetectorSpec
from saccade.types import F32, Frame, Region
from saccade_edge.detect import layouts
from saccade_edge.detect.base import Overview
from saccade_edge.detect.boxes import to_corners
from saccade_edge.detect.found import Found
from saccade_edge.detect.letterbox import BORDER, place
from saccade_edge.detect.model_run import DetectorModel
from saccade_edge.onnx_model import RuntimeSettings


class OnnxDetector:
    """Reads the outputs as ``spec.layout`` says. The model is run once here, on a grey picture.

    Raises ``BundleError`` for a model whose input or outputs are not as the manifest says.
    """

    def __init__(self, file: ModelFile, spec: DetectorSpec, runtime: RuntimeSettings) -> None:
        self._spec = spec
        self._model = DetectorModel(file, spec, runtime)
        layout = LAYOUTS[spec.layout]
        self._fit = spec.fit or layout.fit
        self._border = BORDER if spec.pad is None else spec.pad
        self._written = spec.boxes or layout.boxes
        scores = spec.scores or layout.scores
        self._known = layouts.Model(self._model.name, len(spec.labels), spec.input, scores)
        grey = np.full((*spec.input, 3), BORDER, np.uint8)
        self._model.outputs = layouts.pick(spec.layout, self._model.run(grey), self._known)

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return self._model.providers

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        canvas, placement = place(frame.picture, self._spec.input, self._fit, self._border)
        found = self._read(self._model.run(canvas))
        return [
            Region((float(x0), float(y0), float(x1), float(y1)), self._spec.labels[kind], float(s))
            for (x0, y0, x1, y1), s, kind in zip(
                placement.to_frame(found.boxes), found.scores, found.classes, strict=True
            )
            if x1 - x0 >= 1 and y1 - y0 >= 1  # what lies in the border is nothing
        ]

    def _read(self, outputs: dict[str, F32]) -> Found:
        """Boxes xyxy in pixels of the input, of at least the score, apart from each other."""
        reader = layouts.READERS[self._spec.layout]
        names = layouts.pick(self._spec.layout, outputs, self._known)
        raw = reader.read([outputs[name] for name in names], self._known)
        inside = (raw.classes >= 0) & (raw.classes < self._known.labels)
        likely = raw[inside].above(self._spec.score)
        boxes = to_corners(likely.boxes, self._written, self._spec.input)
        found = Found(boxes, likely.scores, likely.classes)
        return found.apart(self._spec.iou) if reader.suppress else found


def layouts_that_fit(file: ModelFile, spec: DetectorSpec, runtime: RuntimeSettings) -> list[str]:
    """The layouts that the model's outputs fit, found by running it; ``spec.layout`` is not used
    for more than the input's defaults.
    """
    model = DetectorModel(file, spec, runtime)
    outputs = model.run(np.full((*spec.input, 3), BORDER, np.uint8))
    known = layouts.Model(model.name, len(spec.labels), spec.input, "as-is")
    return layouts.fitting(outputs, known)
