"""``saccade bundle detector``: a bundle with another detector, which was tried, or no bundle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from saccade.bundle import Bundle
from saccade.cli import main
from saccade.errors import BundleError
from saccade.manifest import parse
from saccade.types import Frame
from saccade_edge.detect import make_detector
from saccade_edge.onnx_model import RuntimeSettings
from saccade_testing.detector_graphs import SIZE, Rows, outputs_of, write_constant
from saccade_testing.edge_bundle import write_edge_bundle

MakeFrame = Callable[..., Frame]
ROWS: Rows = (((20, 20, 60, 40), 0.9, 1), ((2, 2, 9, 9), 0.5, 0))
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(model, *words)``: status and all that was printed; the new bundle is ``new``."""
    write_edge_bundle(tmp_path / "old")

    def command(model: Path, *words: str) -> tuple[int, str]:
        paths = (str(tmp_path / "old"), str(model), "--out", str(tmp_path / "new"))
        status = main(["bundle", "detector", *paths, *words])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return command


def found(folder: Path, frame: Frame) -> list[str]:
    bundle = Bundle.open(folder)
    detector = make_detector(None, bundle, RuntimeSettings(threads=1))
    return [region.label for region in detector.find(frame, lambda: pytest.fail("no overview"))]


def test_the_new_bundle_finds_with_the_new_detector(
    tmp_path: Path, run: Run, make_frame: MakeFrame
) -> None:
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v8", ROWS, 3))
    words = ("--labels", "cat,dog,cow", "--crops", "dog", "--closeups", "cat", "--licence", "MIT")
    status, said = run(model, *words)
    assert status == 0
    assert "layout yolo-v8, input 96 x 64, 3 labels" in said
    assert "licence   MIT" in said
    assert "found dog 0.90, cat 0.50" in said
    new = Bundle.open(tmp_path / "new")
    new.verify()
    assert new.digest != Bundle.open(tmp_path / "old").digest
    spec = new.manifest.detector
    assert spec is not None
    assert (spec.labels, spec.crops, spec.closeups) == (("cat", "dog", "cow"), ("dog",), ("cat",))
    assert {n: e.license for n, e in new.manifest.files.items()}["edge/detector.onnx"] == "MIT"
    assert "measured with the detector before" in new.manifest.training["detector"]
    assert found(tmp_path / "new", make_frame()) == ["dog", "cat"]


def test_a_bundle_without_a_detector_gets_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make_frame: MakeFrame
) -> None:
    write_edge_bundle(tmp_path / "bare", detector=False)
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v10", ROWS, 3))
    words = ("bundle", "detector", str(tmp_path / "bare"), str(model), "--labels", "a,b,c")
    assert main([*words, "--out", str(tmp_path / "new")]) == 0
    assert "licence   unknown (state it with --licence)" in capsys.readouterr().out
    assert found(tmp_path / "new", make_frame()) == ["b", "a"]


def test_labels_come_from_a_file(tmp_path: Path, run: Run) -> None:
    labels = tmp_path / "names.txt"
    labels.write_bytes("\ufeffVoiture\r\n汽车\r\ntraffic light\r\n\r\n".encode())
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v8", ROWS, 3))
    status, said = run(model, "--labels", str(labels))
    assert (status, "found 汽车 0.90, Voiture 0.50" in said) == (0, True)


def test_a_shape_that_fits_two_layouts_asks_for_one(
    tmp_path: Path, run: Run, make_frame: MakeFrame
) -> None:
    rows: Rows = [((20, 20, 60, 40), 0.9, 0)]
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v5", rows, 1))
    status, said = run(model, "--labels", "car")
    assert (status, "fit yolo-v5 and yolo-v10: state one with --layout" in said) == (1, True)
    assert not (tmp_path / "new").exists()
    assert run(model, "--labels", "car", "--layout", "yolov7")[0] == 0
    assert found(tmp_path / "new", make_frame()) == ["car"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--labels", "a,b,c", "--crops", "b,d"), "--crops names d, which is no label; .* a, b, c"),
        (("--labels", "a,b,c", "--closeups", "plate"), "--closeups names plate, which is no label"),
        (("--labels", "a,b,c", "--layout", "best"), "unknown layout 'best', known are: yolo-v5"),
        (("--labels", "a,b"), r"output0 \[1, 7, 2\], .*is 2\); no known layout"),
        (("--labels", "a,b,b"), "detector.labels are 3, of them 2 different"),
        (("--labels", "names.txt"), "there is no such file"),
        (("--labels", "a,b,c", "--layout", "yolo-v10"), "not layout yolo-v10 .*fit yolo-v8"),
        (("--labels", "a,b,c", "--input", "640"), "'640' is no size"),
        (("--labels", "a,b,c", "--input", "640x640"), r"takes .*\[1, 3, 64, 96\]"),
        (("--labels", "a,b,c", "--score", "1.5"), "--score 1.5: 0 to 1"),
        (("--labels", "a,b,c", "--iou", "nan"), "--iou nan: 0 to 1"),
        (("--labels", "a,b,c", "--mean", "1,2"), "not three numbers"),
        (("--labels", "a,b,c", "--std", "1,0,1"), "detector.std is .*every value is above 0"),
        (("--labels", "a,b,c", "--pad", "300"), "detector.pad is 300, 0..255"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(
    tmp_path: Path, run: Run, words: tuple[str, ...], says: str
) -> None:
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v8", ROWS, 3))
    before = sorted(tmp_path.iterdir())
    status, said = run(model, *words)
    assert status == 1
    assert len(said.splitlines()) == 1
    assert re.search(says, said), said
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path, run: Run) -> None:
    model = write_constant(tmp_path / "m.onnx", outputs_of("yolo-v8", ROWS, 3))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "mine.txt").write_text("mine")
    status, said = run(model, "--labels", "a,b,c")
    assert (status, "new exists already" in said) == (1, True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["mine.txt"]


def test_a_model_of_any_size_needs_one_stated(
    tmp_path: Path, run: Run, make_frame: MakeFrame
) -> None:
    outputs = outputs_of("yolo-v8", ROWS, 3)
    model = write_constant(tmp_path / "m.onnx", outputs, dims=(1, 3, "H", "W"))
    status, said = run(model, "--labels", "a,b,c")
    assert (status, "takes several sizes: state one with --input" in said) == (1, True)
    assert run(model, "--labels", "a,b,c", "--input", f"{SIZE[0]}x{SIZE[1]}")[0] == 0
    assert found(tmp_path / "new", make_frame()) == ["b", "a"]


def test_external_data_comes_along_and_is_listed(
    tmp_path: Path, run: Run, make_frame: MakeFrame
) -> None:
    path = write_constant(tmp_path / "in" / "m.onnx", outputs_of("yolo-v8", ROWS, 3))
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, location="m.weights",
        size_threshold=0,
    )  # fmt: skip
    assert run(path, "--labels", "a,b,c", "--licence", "MIT")[0] == 0
    new = Bundle.open(tmp_path / "new")
    new.verify()
    assert new.manifest.files["edge/m.weights"].license == "MIT"
    assert found(tmp_path / "new", make_frame()) == ["b", "a"]
    with (tmp_path / "new/edge/m.weights").open("r+b") as stream:
        stream.write(np.float32(7).tobytes())
    with pytest.raises(BundleError, match=r"edge/m.weights has SHA-256"):
        new.verify()


def test_crops_that_are_no_label_are_refused_in_a_manifest(tmp_path: Path) -> None:
    bundle = write_edge_bundle(tmp_path)
    fields = json.loads((bundle.folder / "manifest.json").read_text())
    for name in ("crops", "closeups"):
        changed = json.loads(json.dumps(fields))
        changed["detector"][name] = ["car", "plate"]
        with pytest.raises(BundleError, match=f"detector.{name} names 'plate', .*person, car, van"):
            parse(changed)
    fields["detector"]["layout"] = "yolo"
    with pytest.raises(BundleError, match="detector.layout 'yolo' is unknown, known are: yolo-v5"):
        parse(fields)
