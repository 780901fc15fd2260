"""A detector's input tensor, as its model was trained: channels, range, normalisation, axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.detector_layouts import LAYOUTS
from saccade.errors import BundleError
from saccade.manifest import DetectorSpec
from saccade.types import U8
from saccade_edge.onnx_model import Port

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """From a uint8 [H, W, 3] RGB canvas to [1, 3, H, W] or [1, H, W, 3] of ``kind``."""

    channels: str
    divisor: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    axes: str
    kind: str

    def __call__(self, canvas: U8) -> npt.NDArray[Any]:
        ordered = canvas[..., ::-1] if self.channels == "bgr" else canvas
        values: npt.NDArray[Any] = ordered
        if self.kind != "tensor(uint8)":
            mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
            values = (np.asarray(ordered, np.float32) / np.float32(self.divisor) - mean) / std
        if self.axes == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None], KINDS[self.kind])


def preprocess_of(spec: DetectorSpec, port: Port, model: str) -> Preprocess:
    """As the manifest says, its layout's defaults for the rest, and for the model's input ``port``.

    Raises ``BundleError`` for an input that takes no such picture.
    """
    layout = LAYOUTS[spec.layout]
    axes = spec.axes or axes_of(port)
    size = spec.input
    wanted = (1, 3, *size) if axes == "nchw" else (1, *size, 3)
    if port.kind not in KINDS or not takes(port, wanted):
        raise BundleError(
            f"{model} takes {port.kind} {list(port.shape)}, the manifest says {list(wanted)}, "
            f"which may be {', '.join(KINDS)}"
        )
    mean, std = spec.mean or layout.mean, spec.std or layout.std
    if port.kind == "tensor(uint8)" and (spec.mean or spec.std):
        raise BundleError(f"{model} takes uint8: the manifest's mean and std can't be used")
    divisor = 255.0 if (spec.range or layout.range) == "0-1" else 1.0
    return Preprocess(spec.channels or layout.channels, divisor, mean, std, axes, port.kind)


def axes_of(port: Port) -> str:
    """Channels last where the shape says so, else first."""
    shape = port.shape
    return "nhwc" if len(shape) == 4 and shape[3] == 3 and shape[1] != 3 else "nchw"


def takes(port: Port, shape: tuple[int, ...]) -> bool:
    """Whether the input can have that shape."""
    return len(port.shape) == len(shape) and all(
        not isinstance(has, int) or has == wants
        for has, wants in zip(port.shape, shape, strict=True)
    )
