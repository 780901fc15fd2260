"""A detector's model: its inputs found and fed, its outputs as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError
from saccade.manifest import DetectorSpec
from saccade.types import F32, U8
from saccade_edge.detect.detector_input import preprocess_of
from saccade_edge.onnx_model import Model, Port, RuntimeSettings

# The second input of some exports: the size that their boxes shall be in, (width, height).
SIZE_KINDS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}


class DetectorModel:
    """``outputs``: the names of those that a run gives; fewer may be set. Raises ``BundleError``
    for a model that does not take the manifest's input.
    """

    def __init__(self, file: ModelFile, spec: DetectorSpec, runtime: RuntimeSettings) -> None:
        self._model = Model(file, runtime)
        self.name = self._model.name
        picture, *others = _picture_first(self._model)
        self._preprocess = preprocess_of(spec, picture, self.name)
        self._picture = picture.name
        self._sizes = self._size_input(others, spec.input)
        self.outputs = self._model.outputs

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs the model, first choice first."""
        return self._model.providers

    def run(self, canvas: U8) -> dict[str, F32]:
        """What the model gives for a picture of its input's size, uint8 [H, W, 3] RGB."""
        feeds = {self._picture: self._preprocess(canvas), **self._sizes}
        return dict(zip(self.outputs, self._model.run(self.outputs, feeds), strict=True))

    def _size_input(self, others: list[Port], size: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
        """The feed of a second input that takes a size: boxes are wanted in the input's pixels."""
        feeds: dict[str, npt.NDArray[Any]] = {}
        for port in others:
            if port.shape[-1:] != (2,) or port.kind not in SIZE_KINDS or len(others) > 1:
                raise BundleError(
                    f"{self.name} takes also {port.name} {port.kind} {list(port.shape)}, "
                    "which is no known input of a detector"
                )
            wanted = np.asarray([[size[1], size[0]]], SIZE_KINDS[port.kind])
            feeds[port.name] = wanted if len(port.shape) == 2 else wanted[0]
        return feeds


def _picture_first(model: Model) -> list[Port]:
    """The inputs, the one of four dimensions first."""
    ports = sorted(model.inputs, key=lambda port: len(port.shape) != 4)
    if not ports or len(ports[0].shape) != 4:
        taken = ", ".join(f"{p.name} {list(p.shape)}" for p in ports) or "nothing"
        raise BundleError(f"{model.name} takes {taken}, a detector takes [1, 3, H, W]")
    return ports


def input_size(file: ModelFile, runtime: RuntimeSettings) -> tuple[int, int] | None:
    """(height, width) of the picture that the model takes, None where it takes several."""
    shape = _picture_first(Model(file, runtime))[0].shape
    height, width = shape[1:3] if shape[3] == 3 and shape[1] != 3 else shape[2:4]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
