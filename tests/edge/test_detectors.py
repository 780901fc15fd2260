from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.errors import BundleError, ConfigError
from saccade.types import Frame, TokenGrid
from saccade_edge.detect import make_detector
from saccade_edge.detect.motion import MotionDetector
from saccade_edge.detect.onnx_detector import OnnxDetector
from saccade_edge.detect.saliency import SaliencyDetector
from saccade_edge.onnx_model import RuntimeSettings
from saccade_testing.edge_bundle import write_edge_bundle

MakeFrame = Callable[..., Frame]
ONE_THREAD = RuntimeSettings(threads=1)


def no_overview() -> TokenGrid:
    raise AssertionError("this detector needs no overview")


def grid_with(hot: list[int]) -> TokenGrid:
    """8 x 8 tokens, the attention on the given ones."""
    saliency = np.full((2, 4, 64), 0.001, np.float32)
    saliency[:, :, hot] = 0.1
    blank = np.zeros((64, 8), np.float32)
    return TokenGrid(blank, saliency, blank, (1, 8, 8))


@pytest.mark.parametrize("size", [(384, 640), (96, 160), (300, 300)])
def test_a_detectors_box_lies_on_the_thing_in_the_frame(
    bundle: Bundle, make_frame: MakeFrame, size: tuple[int, int]
) -> None:
    picture = np.full((*size, 3), 90, np.uint8)
    picture[size[0] // 4 : size[0] // 2, size[1] // 4 : size[1] // 2] = (230, 30, 30)
    detector = make_detector("yolo", bundle, ONE_THREAD)
    (region,) = detector.find(make_frame(picture=picture), no_overview)
    assert (region.label, round(region.score, 3)) == ("car", 0.9)
    expected = (size[1] // 4, size[0] // 4, size[1] // 2, size[0] // 2)
    assert np.allclose(region.box, expected, atol=1.5)


def test_the_provider_that_really_runs_is_told(bundle: Bundle) -> None:
    detector = make_detector("yolo", bundle, RuntimeSettings(("CPUExecutionProvider",), 1))
    assert isinstance(detector, OnnxDetector)
    assert detector.providers == ("CPUExecutionProvider",)


def test_a_detector_for_another_input_is_refused(bundle: Bundle) -> None:
    spec = bundle.manifest.detector
    assert spec is not None
    with pytest.raises(BundleError, match=r"the manifest says \[1, 3, 320, 320\]"):
        OnnxDetector(bundle.model(spec.file), replace(spec, input=(320, 320)), ONE_THREAD)


def test_no_detector_finds_nothing(bundle: Bundle, make_frame: MakeFrame) -> None:
    assert make_detector("none", bundle, ONE_THREAD).find(make_frame(), no_overview) == []


def test_motion_finds_what_moves_and_only_that(make_frame: MakeFrame) -> None:
    detector = MotionDetector()
    assert detector.find(make_frame(0), no_overview) == []
    (region,) = detector.find(make_frame(2), no_overview)  # 8 pixels further right
    assert np.allclose(region.box, (8, 32, 48, 56), atol=6)
    assert 0 < region.score <= 1
    assert detector.find(make_frame(2), no_overview) == []


def test_motion_starts_anew_when_the_cameras_size_changes(make_frame: MakeFrame) -> None:
    detector = MotionDetector()
    detector.find(make_frame(0), no_overview)
    assert detector.find(make_frame(picture=np.zeros((200, 160, 3), np.uint8)), no_overview) == []


def test_salient_cells_become_regions_in_pixels(make_frame: MakeFrame) -> None:
    hot = [9, 10, 17, 18, 62]  # two by two cells, and one in the last row
    regions = SaliencyDetector().find(make_frame(), lambda: grid_with(hot))
    assert sorted(r.box for r in regions) == [(20, 12, 60, 36), (120, 84, 140, 96)]
    assert max(regions, key=lambda r: r.score).box == (20, 12, 60, 36)


def test_even_attention_has_no_regions(make_frame: MakeFrame) -> None:
    assert SaliencyDetector().find(make_frame(), lambda: grid_with([])) == []


def test_the_default_detector_is_the_bundles_own(bundle: Bundle, tmp_path: Path) -> None:
    without = write_edge_bundle(tmp_path, detector=False)
    assert isinstance(make_detector(None, bundle, ONE_THREAD), OnnxDetector)
    assert isinstance(make_detector(None, without, ONE_THREAD), SaliencyDetector)
    with pytest.raises(ConfigError, match="has no detector"):
        make_detector("yolo", without, ONE_THREAD)
    with pytest.raises(ConfigError, match="known are: yolo, motion, saliency, none"):
        make_detector("haar", bundle, ONE_THREAD)
