"""Every layout is read as the models that it stands for mean it, in pixels of the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from saccade.bundle_files import unlisted_model
from saccade.detector_layouts import LAYOUTS
from saccade.errors import BundleError
from saccade.manifest import DetectorSpec
from saccade.types import F32, Frame, Region, TokenGrid
from saccade_edge.detect.detector_input import preprocess_of
from saccade_edge.detect.layouts import READERS
from saccade_edge.detect.onnx_detector import OnnxDetector, layouts_that_fit
from saccade_edge.onnx_model import Port, RuntimeSettings
from saccade_testing.detector_graphs import (
    SIZE,
    Rows,
    outputs_of,
    write_constant,
    write_half_of_size,
)

MakeFrame = Callable[..., Frame]
ONE_THREAD = RuntimeSettings(threads=1)
NAMES = ("car", "van", "bus")
SUPPRESSING = ("yolo-v5", "yolo-v8", "yolo-v8 transposed", "yolox")
EVERY = (*LAYOUTS, "yolo-v8 transposed")
# Frames whose scale to the input is exact: as it is, half of it upright, a wide strip.
FRAMES = ((64, 96), (128, 96), (256, 768))


def spec_of(layout: str, labels: int = 3, **more: Any) -> DetectorSpec:
    name = layout.split()[0]
    boxes = "yxyx" if name == "nms-indices" else None
    usual = DetectorSpec("d.onnx", name, SIZE, NAMES[:labels], 0.3, 0.6, boxes=boxes)
    return replace(usual, **more)


def detector(path: Path, spec: DetectorSpec) -> OnnxDetector:
    return OnnxDetector(unlisted_model(path), spec, ONE_THREAD)


def no_overview() -> TokenGrid:
    raise AssertionError("this detector needs no overview")


def found(path: Path, spec: DetectorSpec, frame: Frame) -> list[Region]:
    regions = detector(path, spec).find(frame, no_overview)
    return sorted(regions, key=lambda region: -region.score)


def to_frame(box: tuple[float, ...], size: tuple[int, int], fit: str) -> tuple[float, ...]:
    """By hand: where a box of the input lies in a frame of ``size``."""
    scale = min(SIZE[0] / size[0], SIZE[1] / size[1])
    across, down = (SIZE[1] / size[1], SIZE[0] / size[0]) if fit == "stretch" else (scale, scale)
    left = (SIZE[1] - size[1] * scale) / 2 if fit == "letterbox" else 0
    top = (SIZE[0] - size[0] * scale) / 2 if fit == "letterbox" else 0
    x0, y0, x1, y1 = box
    return ((x0 - left) / across, (y0 - top) / down, (x1 - left) / across, (y1 - top) / down)


def test_every_layout_of_the_manifest_has_a_reader() -> None:
    assert set(READERS) == set(LAYOUTS)


@pytest.mark.parametrize("labels", [1, 2, 3])
@pytest.mark.parametrize("layout", EVERY)
def test_boxes_labels_and_scores_are_the_models(
    tmp_path: Path, make_frame: MakeFrame, layout: str, labels: int
) -> None:
    fit = LAYOUTS[layout.split()[0]].fit
    last = labels - 1
    # Inside the picture for every frame and fit; the second is of another label where there is one.
    rows: Rows = [((28, 18, 40, 28), 0.9, last), ((30, 20, 44, 30), 0.7, 0), ((2, 2, 9, 9), 0.2, 0)]
    path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, labels))
    for size in FRAMES:
        frame = make_frame(picture=np.zeros((*size, 3), np.uint8))
        regions = found(path, spec_of(layout, labels), frame)
        assert [r.label for r in regions] == [NAMES[last], NAMES[0]]
        assert np.allclose([r.score for r in regions], [0.9, 0.7], atol=1e-3)
        for region, (box, _, _) in zip(regions, rows, strict=False):
            assert np.allclose(region.box, to_frame(box, size, fit), atol=0.02), size


@pytest.mark.parametrize("layout", SUPPRESSING)
def test_overlapping_boxes_of_one_label_are_one_region(
    tmp_path: Path, make_frame: MakeFrame, layout: str
) -> None:
    """The thresholds differ: 0.3 is of scores, 0.6 of overlap."""
    rows: Rows = [
        ((20, 20, 60, 40), 0.9, 1),
        ((22, 20, 62, 40), 0.8, 1),  # overlaps the first by 0.9: the same thing
        ((36, 20, 76, 40), 0.5, 1),  # by 0.43: another one
        ((20, 21, 60, 41), 0.4, 2),  # the same place, another label
    ]
    path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, 3))
    frame = make_frame(picture=np.zeros((*SIZE, 3), np.uint8))
    regions = found(path, spec_of(layout), frame)
    assert [(r.label, round(r.score, 2)) for r in regions] == [
        ("van", 0.9), ("van", 0.5), ("bus", 0.4),
    ]  # fmt: skip


@pytest.mark.parametrize("layout", EVERY)
def test_boxes_end_at_the_frames_border_and_what_is_outside_is_nothing(
    tmp_path: Path, make_frame: MakeFrame, layout: str
) -> None:
    rows: Rows = [((-8, -6, 40, 60), 0.9, 1), ((120, 10, 150, 40), 0.8, 1)]
    if layout == "yolox":
        rows = rows[:1]
    path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, 3))
    (region,) = found(path, spec_of(layout), make_frame(picture=np.zeros((*SIZE, 3), np.uint8)))
    assert np.allclose(region.box, (0, 0, 40, 60), atol=0.02)


@pytest.mark.parametrize("layout", EVERY)
def test_a_model_that_finds_nothing_finds_nothing(
    tmp_path: Path, make_frame: MakeFrame, layout: str
) -> None:
    rows: Rows = [((20, 20, 60, 40), 0.1, 1)]
    path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, 3))
    assert found(path, spec_of(layout), make_frame()) == []


@pytest.mark.parametrize("layout", ["yolo-v5", "yolo-v8", "yolo-v10", "nms-rows", "rt-detr-deploy"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_left_out(
    tmp_path: Path, make_frame: MakeFrame, layout: str, bad: float
) -> None:
    rows: Rows = [((20, 20, 60, 40), 0.9, 1), ((20, 20, bad, 40), 0.8, 2)]
    path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, 3))
    (region,) = found(path, spec_of(layout), make_frame())
    assert region.label == "van"


def test_a_class_without_a_label_is_left_out(tmp_path: Path, make_frame: MakeFrame) -> None:
    rows: Rows = [((20, 20, 60, 40), 0.9, 7), ((20, 20, 60, 40), 0.8, 2), ((0, 0, 9, 9), 0.7, -1)]
    path = write_constant(tmp_path / "d.onnx", outputs_of("yolo-v10", rows, 8))
    (region,) = found(path, spec_of("yolo-v10"), make_frame())
    assert region.label == "bus"


def test_boxes_of_another_picture_of_a_batch_are_left_out(
    tmp_path: Path, make_frame: MakeFrame
) -> None:
    output = np.asarray([[0, 1, 1, 30, 30, 0, 0.9], [1, 40, 40, 60, 60, 0, 0.9]], np.float32)
    path = write_constant(tmp_path / "d.onnx", {"output": output})
    assert len(found(path, spec_of("nms-rows"), make_frame())) == 1


class TestShapes:
    """Shapes that fit several layouts: the manifest decides, and a wrong one is refused."""

    @pytest.mark.parametrize(
        ("layout", "labels", "fits"),
        [
            ("yolo-v5", 3, ["yolo-v5"]),
            ("yolo-v5", 1, ["yolo-v5", "yolo-v10"]),
            ("yolo-v8", 3, ["yolo-v8"]),
            ("yolo-v8 transposed", 3, ["yolo-v8", "rt-detr-joined"]),
            ("yolo-v8 transposed", 2, ["yolo-v8", "yolo-v10", "rt-detr-joined"]),
            ("yolo-v10", 3, ["yolo-v10"]),
            ("yolox", 3, ["yolo-v5", "yolox"]),
            ("nms", 3, ["nms"]),
            ("nms-rows", 3, ["nms-rows"]),
            ("nms-indices", 3, ["nms-indices"]),
            ("rt-detr", 3, ["rt-detr", "rf-detr"]),
            ("rt-detr-deploy", 3, ["rt-detr-deploy"]),
        ],
    )
    def test_the_layouts_that_shapes_fit_are_named(
        self, tmp_path: Path, layout: str, labels: int, fits: list[str]
    ) -> None:
        rows: Rows = [((20, 20, 60, 40), 0.9, 0)] * 2
        rows = [*rows, ((1, 1, 9, 9), 0.5, 0)]
        path = write_constant(tmp_path / "d.onnx", outputs_of(layout, rows, labels))
        spec = spec_of("yolo-v5", labels)
        assert layouts_that_fit(unlisted_model(path), spec, ONE_THREAD) == fits

    def test_the_same_output_is_read_as_the_manifest_says(
        self, tmp_path: Path, make_frame: MakeFrame
    ) -> None:
        """[1, N, 6] of one label: corners, score, class, or centre, size, objectness, score."""
        row = np.asarray([[[40, 30, 60, 50, 0.9, 0.0]]], np.float32)
        path = write_constant(tmp_path / "d.onnx", {"output0": row})
        frame = make_frame(picture=np.zeros((*SIZE, 3), np.uint8))
        (region,) = found(path, spec_of("yolo-v10", 1), frame)
        assert region.box == (40, 30, 60, 50)
        assert found(path, spec_of("yolo-v5", 1), frame) == []

    def test_another_layout_than_the_manifests_is_refused(self, tmp_path: Path) -> None:
        rows: Rows = [((20, 20, 60, 40), 0.9, 0)]
        path = write_constant(tmp_path / "d.onnx", outputs_of("yolo-v5", rows, 1))
        with pytest.raises(BundleError, match=r"not layout yolo-v8 .* fit yolo-v5 or yolo-v10"):
            detector(path, spec_of("yolo-v8", 1))

    def test_other_labels_than_the_models_are_refused(self, tmp_path: Path) -> None:
        rows: Rows = [((20, 20, 60, 40), 0.9, 0)]
        path = write_constant(tmp_path / "d.onnx", outputs_of("yolo-v8", rows, 80))
        with pytest.raises(BundleError, match=r"\[1, 84, 1\].*no known layout has these shapes"):
            detector(path, spec_of("yolo-v8"))

    def test_raw_scores_are_not_taken_for_probabilities(
        self, tmp_path: Path, make_frame: MakeFrame
    ) -> None:
        output = np.zeros((1, 7, 5), np.float32)
        output[0, :4, 0] = (40, 30, 20, 10)
        output[0, 4:] = -6
        output[0, 5, 0] = 2
        path = write_constant(tmp_path / "d.onnx", {"output0": output})
        with pytest.raises(BundleError, match="scores from -6 to 2, not 0 to 1"):
            found(path, spec_of("yolo-v8"), make_frame())
        (region,) = found(path, spec_of("yolo-v8", scores="sigmoid"), make_frame())
        assert abs(region.score - 1 / (1 + np.exp(-2))) < 1e-6


class TestInputs:
    ROWS: Rows = (((20, 20, 60, 40), 0.9, 1),)

    @pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
    @pytest.mark.parametrize("dims", [(1, 3, *SIZE), (1, *SIZE, 3), ("N", 3, "H", "W")])
    def test_models_of_every_input_run(
        self, tmp_path: Path, make_frame: MakeFrame, kind: int, dims: tuple[int | str, ...]
    ) -> None:
        path = write_constant(
            tmp_path / "d.onnx", outputs_of("yolo-v8", self.ROWS, 3), dims=dims, kind=kind
        )
        assert len(found(path, spec_of("yolo-v8"), make_frame())) == 1

    @pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT])
    def test_a_second_input_is_told_the_size_of_the_first(
        self, tmp_path: Path, make_frame: MakeFrame, kind: int
    ) -> None:
        dims: list[int | str] = ["N", 2]
        extra = {"orig_target_sizes": (kind, dims)}
        outputs = outputs_of("rt-detr-deploy", self.ROWS, 3)
        path = write_constant(tmp_path / "d.onnx", outputs, extra=extra)
        assert len(found(path, spec_of("rt-detr-deploy"), make_frame())) == 1

    def test_the_size_is_width_then_height(self, tmp_path: Path, make_frame: MakeFrame) -> None:
        """A model whose box is a quarter to three quarters of the size that it is told."""
        write_half_of_size(tmp_path / "d.onnx")
        frame = make_frame(picture=np.zeros((128, 96, 3), np.uint8))
        (region,) = found(tmp_path / "d.onnx", spec_of("rt-detr-deploy"), frame)
        assert np.allclose(region.box, (24, 32, 72, 96), atol=0.01)

    def test_an_input_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        outputs = outputs_of("yolo-v8", self.ROWS, 3)
        path = write_constant(
            tmp_path / "d.onnx", outputs, extra={"prompt": (TensorProto.INT64, [5])}
        )
        with pytest.raises(BundleError, match=r"takes also prompt .* no known input"):
            detector(path, spec_of("yolo-v8"))
        path = write_constant(tmp_path / "e.onnx", outputs, dims=(1, 4, *SIZE))
        with pytest.raises(BundleError, match=r"takes tensor\(float\) \[1, 4, 64, 96\]"):
            detector(path, spec_of("yolo-v8"))
        path = write_constant(tmp_path / "f.onnx", outputs, kind=TensorProto.INT64)
        with pytest.raises(BundleError, match=r"takes tensor\(int64\)"):
            detector(path, spec_of("yolo-v8"))

    @pytest.mark.parametrize(
        ("layout", "kind", "more", "expected"),
        [
            ("yolo-v8", "tensor(float)", {}, (200 / 255, 100 / 255, 50 / 255)),
            ("yolox", "tensor(float)", {}, (50, 100, 200)),
            ("yolo-v8", "tensor(uint8)", {}, (200, 100, 50)),
            ("yolo-v8", "tensor(uint8)", {"channels": "bgr"}, (50, 100, 200)),
            ("yolo-v8", "tensor(float)", {"range": "0-255"}, (200, 100, 50)),
            (
                "yolo-v8",
                "tensor(float)",
                {"range": "0-255", "mean": (100.0, 90.0, 30.0), "std": (2.0, 5.0, 10.0)},
                (50, 2, 2),
            ),
            (
                "rf-detr",
                "tensor(float)",
                {},
                (
                    (200 / 255 - 0.485) / 0.229,
                    (100 / 255 - 0.456) / 0.224,
                    (50 / 255 - 0.406) / 0.225,
                ),
            ),
        ],
    )
    def test_pixels_come_as_the_model_was_trained(
        self, layout: str, kind: str, more: dict[str, Any], expected: tuple[float, ...]
    ) -> None:
        canvas = np.full((*SIZE, 3), (200, 100, 50), np.uint8)
        first = preprocess_of(spec_of(layout, **more), Port("x", kind, (1, 3, *SIZE)), "m")(canvas)
        last = preprocess_of(spec_of(layout, **more), Port("x", kind, (1, *SIZE, 3)), "m")(canvas)
        assert (first.shape, last.shape) == ((1, 3, *SIZE), (1, *SIZE, 3))
        assert first.dtype == (np.uint8 if "uint8" in kind else np.float32)
        assert np.allclose(first[0, :, 5, 7], expected, atol=1e-4)
        assert np.allclose(last[0, 5, 7], expected, atol=1e-4)

    def test_half_precision_comes_as_half_precision(self) -> None:
        port = Port("x", "tensor(float16)", (1, 3, *SIZE))
        assert preprocess_of(spec_of("yolo-v8"), port, "m")(blank()).dtype == np.float16

    def test_a_normalisation_of_bytes_is_refused(self) -> None:
        port = Port("x", "tensor(uint8)", (1, 3, *SIZE))
        with pytest.raises(BundleError, match="mean and std can't be used"):
            preprocess_of(spec_of("yolo-v8", mean=(0.5, 0.5, 0.5)), port, "m")


def blank() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.zeros((*SIZE, 3), np.uint8)


@pytest.mark.parametrize(
    ("written", "box"),
    [
        ("xyxy", (20, 10, 60, 42)),
        ("yxyx", (10, 20, 42, 60)),
        ("cxcywh", (40, 26, 40, 32)),
        ("xyxy-normalised", (20 / 96, 10 / 64, 60 / 96, 42 / 64)),
        ("yxyx-normalised", (10 / 64, 20 / 96, 42 / 64, 60 / 96)),
        ("cxcywh-normalised", (40 / 96, 26 / 64, 40 / 96, 32 / 64)),
    ],
)
def test_boxes_are_read_as_the_manifest_says(
    tmp_path: Path, make_frame: MakeFrame, written: str, box: tuple[float, ...]
) -> None:
    rows: F32 = np.asarray([[[*box, 0.9, 1]]], np.float32)
    path = write_constant(tmp_path / "d.onnx", {"output0": rows})
    frame = make_frame(picture=np.zeros((*SIZE, 3), np.uint8))
    (region,) = found(path, spec_of("yolo-v10", boxes=written), frame)
    assert np.allclose(region.box, (20, 10, 60, 42), atol=0.01)
