"""Which regions of a frame deserve a closer look."""

from saccade_edge.detect.base import Detector, Overview
from saccade_edge.detect.priority import prioritise
from saccade_edge.detect.registry import DETECTOR_HELP, DETECTORS, make_detector

__all__ = ["DETECTORS", "DETECTOR_HELP", "Detector", "Overview", "make_detector", "prioritise"]
