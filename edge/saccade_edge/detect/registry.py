"""Detectors by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade.manifest import Manifest
from saccade.types import Frame, Region
from saccade_edge.detect.base import Detector, Overview
from saccade_edge.detect.motion import MotionDetector
from saccade_edge.detect.onnx_detector import OnnxDetector
from saccade_edge.detect.saliency import SaliencyDetector
from saccade_edge.onnx_model import RuntimeSettings

Maker = Callable[[Bundle, RuntimeSettings], Detector]


class NoDetector:
    """Finds nothing: the whole frame is all that is looked at."""

    def find(self, frame: Frame, overview: Overview) -> list[Region]:
        return []


def _yolo(bundle: Bundle, runtime: RuntimeSettings) -> Detector:
    spec = bundle.manifest.detector
    if spec is None:
        raise ConfigError(
            f"bundle {bundle.manifest.name!r} has no detector: choose motion, saliency or none"
        )
    return OnnxDetector(bundle.model(spec.file), spec, runtime)


def _saliency(bundle: Bundle, runtime: RuntimeSettings) -> Detector:
    if not _has_map(bundle.manifest):
        raise ConfigError(
            f"bundle {bundle.manifest.name!r} has no saliency of a whole view: choose motion or "
            "none"
        )
    return SaliencyDetector()


DETECTORS: Mapping[str, Maker] = {
    "yolo": _yolo,  # the bundle's own, whatever its layout
    "motion": lambda bundle, runtime: MotionDetector(),
    "saliency": _saliency,  # no network but the encoder itself
    "none": lambda bundle, runtime: NoDetector(),
}
DETECTOR_HELP = (
    "yolo: the bundle's own, the default where it has one; motion: what moves; saliency: what the "
    "encoder attends to; none: the whole frame alone"
)


def _usual(manifest: Manifest) -> str:
    if manifest.regions is None:
        return "none"
    if manifest.detector is not None:
        return "yolo"
    return "saliency" if _has_map(manifest) else "motion"


def _has_map(manifest: Manifest) -> bool:
    """Whether the encoder's saliency is a map of the whole view."""
    return "saliency" in manifest.encoder.offers and manifest.encoder.geometry.kind != "tiled"


def make_detector(name: str | None, bundle: Bundle, runtime: RuntimeSettings) -> Detector:
    """A detector for one camera; None: the bundle's own where it has one, else saliency.

    Raises ``ConfigError`` for an unknown name or a bundle without what the name needs.
    """
    if name is None:
        name = _usual(bundle.manifest)
    if name not in DETECTORS:
        raise ConfigError(f"unknown detector {name!r}, known are: {', '.join(DETECTORS)}")
    return DETECTORS[name](bundle, runtime)
