"""Operating points: measured on the bundle's own edge and cloud, non-dominated, then used."""

from __future__ import annotations

import itertools
import json
import shutil

import cv2
import numpy as np
import pytest

from saccade.bundle import MANIFEST, Bundle
from saccade.client import EncodeOptions
from saccade.errors import BundleError
from saccade.limits import Limits
from saccade.manifest import OperatingPoint, TokensByKind, parse
from saccade.packet import unpack
from saccade.types import Frame, FrameTokens
from saccade_calibration.calibrate import CalibrationSettings, calibrate
from saccade_calibration.operating_points import Judge, Measured, flat_from, frontier, reduce
from saccade_cloud.engines.registry import EngineOptions
from saccade_drawn_world.crossing.render import render
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.stopwatch import Stopwatch

ONE_THREAD = RuntimeSettings(threads=1)
QUESTIONS = ("what is vehicle {crop} ?", "what is the plate of vehicle {closeup} ?")
QUICK = CalibrationSettings(
    codecs=("rvq",), first_entries=16, entries=16, stages=4, threads=1,
    questions=(*QUESTIONS, "what time of day is it ?"), point_pictures=2, agreement=0.9,
)  # fmt: skip


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A copy of the demo bundle, with points measured on two pictures."""
    folder, pictures = tmp_path_factory.mktemp("points"), tmp_path_factory.mktemp("pictures")
    shutil.copytree(Bundle.open("crossing").folder, folder, dirs_exist_ok=True)
    for seed in range(30_000, 30_003):
        picture = cv2.cvtColor(render(seed).picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(pictures / f"{seed}.png"), picture)
    calibrate(Bundle.open(folder), [pictures], QUICK)
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def whole(calibrated: Bundle) -> FrameTokens:
    """A frame with several crops and a close-up, all tokens."""
    pipeline = Pipeline(
        calibrated, PipelineSettings(encode=EncodeOptions(tokens_per_view=64), runtime=ONE_THREAD)
    )
    for seed in itertools.count(30_000):
        frame = pipeline.encode(Frame(render(seed).picture, 0, "c", 0), Stopwatch()).tokens
        if sum(v.closeup_of is None for v in frame.views) >= 3 and frame.views[-1].closeup_of:
            return frame
    raise AssertionError


def test_no_point_is_worse_and_larger_than_another(calibrated: Bundle) -> None:
    points = calibrated.manifest.points
    assert len(points) >= 3
    for low, high in itertools.pairwise(points):
        assert low.bytes < high.bytes
        assert low.agreement < high.agreement
    assert points[-1].agreement > 0.9


def test_the_bundles_own_point_is_the_cheapest_that_agrees_enough(calibrated: Bundle) -> None:
    points, own = calibrated.manifest.points, calibrated.manifest.selection.point
    assert own is not None
    assert points[own].agreement >= QUICK.agreement
    assert all(point.agreement < QUICK.agreement for point in points[:own])


def test_a_points_bytes_are_what_the_edge_sends(calibrated: Bundle) -> None:
    """The pictures are those of the calibration: the mean is the same but for header fields."""
    own = calibrated.manifest.points[calibrated.manifest.selection.point or 0]
    pipeline = Pipeline(calibrated, PipelineSettings(runtime=ONE_THREAD))
    sizes = []
    for number, seed in enumerate((30_000, 30_001)):
        packet = pipeline.process(Frame(render(seed).picture, 0, "c", number)).packet
        assert packet is not None
        sizes.append(packet.ByteSize())
        unpack(packet, limits=Limits.of(calibrated.manifest), cameras=["c"], epoch_unix_ms=0,
               codecs=pipeline._codecs)  # fmt: skip
    assert np.mean(sizes) == pytest.approx(own.bytes, abs=8)


def test_fewer_crops_are_fewer_views_and_close_ups(whole: FrameTokens) -> None:
    for crops in range(4):
        less = reduce(whole, crops, TokensByKind(16, 4, 8))
        assert [view.slot for view in less.views] == list(range(len(less.views)))
        near = [v.closeup_of for v in less.views if v.closeup_of is not None]
        assert all(slot <= crops for slot in near)
        assert len(less.views) - len(near) == 1 + min(crops, len(less.views) - len(near) - 1)
        assert len(less.views[0].tokens.ids) == 16


def test_the_most_important_tokens_are_kept(whole: FrameTokens) -> None:
    view = whole.views[0].tokens
    kept = reduce(whole, 4, TokensByKind(5, 5, 5)).views[0].tokens
    np.testing.assert_array_equal(kept.ids, np.sort(view.ids[view.order[:5]]))
    np.testing.assert_array_equal(kept.ids[kept.order], view.ids[view.order[:5]])
    np.testing.assert_array_equal(kept.features, view.features[kept.ids])


def test_nothing_lost_agrees_with_itself(calibrated: Bundle, whole: FrameTokens) -> None:
    judge = Judge(calibrated, [whole], QUESTIONS, EngineOptions())
    try:
        way = judge.measure(Measured(4, TokensByKind.alike(64), "f16", 1))
        coarse = judge.measure(Measured(4, TokensByKind.alike(1), "rvq", 1))
    finally:
        judge.close()
    assert (way.agreement, way.same) == (1.0, 1.0)
    assert way.divergence is not None
    assert way.divergence < 1e-3
    assert coarse.agreement < 1.0
    assert coarse.same <= coarse.agreement
    assert coarse.divergence is not None
    assert coarse.divergence > 0.1
    assert coarse.bytes < way.bytes / 20


def test_the_frontier_keeps_what_no_other_beats() -> None:
    ways = [
        Measured(4, TokensByKind.alike(n), "f16", 1, bytes=size, agreement=share)
        for n, size, share in ((1, 10, 0.5), (2, 20, 0.4), (3, 30, 0.7), (4, 30, 0.8), (5, 40, 0.8))
    ]
    assert [way.tokens.crop for way in frontier(ways)] == [1, 4]


def measured(*points: tuple[float, float]) -> list[OperatingPoint]:
    tokens = TokensByKind.alike(4)
    return [OperatingPoint(4, tokens, "rvq", 1, size, agreement) for size, agreement in points]


def test_agreement_is_flat_where_twice_the_bytes_bring_no_more_than_a_point() -> None:
    rising = measured((10, 0.5), (20, 0.6), (40, 0.7), (80, 0.8))
    assert flat_from(rising) == 3
    assert flat_from(measured((10, 0.5))) == 0
    # Close together, and a point apart: below twice the bytes the whole gain counts.
    assert flat_from(measured((10, 0.90), (11, 0.91))) == 0
    assert flat_from(measured((10, 0.90), (11, 0.911))) == 1
    # 80 times the bytes, 6.3 doublings: six points are flat, seven are not.
    assert flat_from(measured((100, 0.93), (8000, 0.99))) == 0
    assert flat_from(measured((100, 0.93), (8000, 1.0))) == 1


def test_a_step_that_pays_later_is_not_overlooked() -> None:
    late = measured((10, 0.5), (15, 0.505), (30, 0.51), (40, 0.8), (80, 0.805))
    assert flat_from(late) == 3


@pytest.mark.parametrize("name", ["crossing", "crossing-registers"])
def test_the_demo_bundles_are_marked_by_that_rule_from_their_own_points(name: str) -> None:
    manifest = Bundle.open(name).manifest
    assert manifest.selection.flat_from == flat_from(manifest.points) < len(manifest.points) - 1


def test_calibration_marks_the_point(calibrated: Bundle) -> None:
    manifest = calibrated.manifest
    assert manifest.selection.flat_from == flat_from(manifest.points)


@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_a_mark_that_is_no_point_is_refused(wrong: int) -> None:
    folder = Bundle.open("crossing").folder
    fields = json.loads((folder / MANIFEST).read_text())
    fields["selection"]["flat_from"] = wrong
    with pytest.raises(BundleError, match=rf"selection\.flat_from is {wrong}, there are 38 points"):
        parse(fields)
