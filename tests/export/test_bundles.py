"""Every form in which a run sends a view becomes a bundle that both ends work with."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from saccade import cli, codecs
from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.limits import Limits
from saccade.manifest import Manifest
from saccade.packet import unpack
from saccade.types import Answer, Frame, FrameTokens, Grid, View
from saccade_cloud.assemble import open_answerer, open_engine
from saccade_drawn_world.crossing.render import render
from saccade_drawn_world.tiny import onnx_export
from saccade_drawn_world.training import recipe
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_export import onnx_files
from saccade_testing.untrained import write_run

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = "edge/detector.onnx"
PATCHES = 64  # places of a view's patches: the registers' follow them
SEED = 3  # a frame with vehicles in it
HALF = 1e-2  # what weights of float16 and the f16 codec may change


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("work"), frames=6)


@pytest.fixture(scope="module")
def bundles(work: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Of patches and of registers, with the shipped detector."""
    patches, registers = (tmp_path_factory.mktemp(name) for name in ("patches", "registers"))
    (patches / "edge").mkdir()
    shutil.copyfile(ROOT / "export/saccade_crossing" / DETECTOR, patches / DETECTOR)
    options = ("--work", str(work), "--registers", str(registers))
    assert cli.main(["export", "bundle", str(patches), *options]) == 0
    return Bundle.open(patches), Bundle.open(registers)


@pytest.fixture(scope="module")
def registers(bundles: tuple[Bundle, Bundle]) -> Bundle:
    return bundles[1]


@pytest.fixture(scope="module")
def frame() -> Frame:
    return Frame(render(SEED).picture, 1_000_000_000, "gate", 0)


def look(bundle: Bundle, frame: Frame, tokens: int | None = None) -> FrameResult:
    settings = PipelineSettings(
        encode=EncodeOptions(tokens_per_view=tokens, codec="f16"),
        runtime=RuntimeSettings(threads=1),
    )
    return Pipeline(bundle, settings).process(frame)


def received(bundle: Bundle, seen: FrameResult) -> FrameTokens:
    """As the cloud has it."""
    assert seen.packet is not None
    return unpack(
        type(seen.packet).FromString(seen.packet.SerializeToString()),
        limits=Limits.of(bundle.manifest),
        cameras=["gate"],
        epoch_unix_ms=0,
        codecs=codecs.of(bundle),
    )


def grid_of(manifest: Manifest) -> Grid:
    return manifest.encoder.geometry.layout((384, 640)).grid


def views_of(seen: FrameResult) -> tuple[View, ...]:
    assert seen.encoded is not None
    return seen.encoded.views


def stacked(views: tuple[View, ...]) -> Tensor:
    return torch.from_numpy(np.stack([view.picture for view in views]))


def answer(bundle: Bundle, frame: FrameTokens) -> Answer:
    async def ask() -> Answer:
        answerer = open_answerer(bundle, open_engine(bundle))
        try:
            return await answerer.answer(frame, "what is the weather ?")
        finally:
            await answerer.close()

    return asyncio.run(ask())


def test_both_bundles_verify_and_say_what_their_tokens_are(bundles: tuple[Bundle, Bundle]) -> None:
    for bundle in bundles:
        bundle.verify()
    patches, registers = (bundle.manifest for bundle in bundles)
    assert (patches.name, grid_of(patches)) == ("crossing", (1, 8, 8))
    assert (registers.name, grid_of(registers)) == ("crossing-registers", (1, 1, 8))
    assert registers.most_tokens == registers.selection.tokens_per_view == 8
    assert registers.training["tokens"].startswith("learned registers")
    assert registers.files[DETECTOR] == patches.files[DETECTOR]
    shared = ("cloud/decoder.onnx", "cloud/embed.onnx", "cloud/tokenizer.json")
    assert all(registers.files[name] == patches.files[name] for name in shared)
    graphs = [name for name in registers.files if name.endswith(".onnx")]
    assert all(stored_half(each.file(name)) for each in bundles for name in graphs)
    own = ("edge/encoder.onnx", "cloud/projector.onnx")
    assert all(registers.files[name] != patches.files[name] for name in own)


def stored_half(path: Path) -> bool:
    """Whether float16 is what its weights are stored as, for the most part."""
    held = onnx.load(str(path)).graph.initializer
    half = sum(weights.ByteSize() for weights in held if weights.name.endswith(".half"))
    return half > 0.8 * path.stat().st_size


@pytest.mark.parametrize("count", range(1, 9))
def test_an_edge_sends_the_first_registers_of_every_view(
    work: Path, registers: Bundle, frame: Frame, count: int
) -> None:
    seen = look(registers, frame, count)
    views = views_of(seen)
    assert {view.kind for view in views} == {"overview", "crop", "closeup"}
    with torch.no_grad():
        features, _, _, cls = recipe.trained_encoder(work)(stacked(views))
        expected = recipe.trained_registers(work)(features, cls)[:, :count].numpy()
    for view, wanted in zip(received(registers, seen).views, expected, strict=True):
        assert view.tokens.ids.tolist() == list(range(count))
        np.testing.assert_allclose(view.tokens.features, wanted, atol=HALF)


@pytest.mark.parametrize("count", [1, 8])
def test_a_cloud_answers_from_registers(registers: Bundle, frame: Frame, count: int) -> None:
    tokens = received(registers, look(registers, frame, count))
    found = answer(registers, tokens)
    assert (found.camera, found.finish) in (("gate", "stop"), ("gate", "length"))


def test_registers_are_placed_behind_the_patches(work: Path, registers: Bundle) -> None:
    model, _ = recipe.trained_language(work)
    torch.manual_seed(0)
    features, boxes = torch.randn(8, 32), torch.rand(8, 4)
    ids, slots, kinds = torch.arange(8), torch.arange(8) % 5, torch.arange(8) % 3
    with torch.no_grad():
        expected = model.visual(features, ids + PATCHES, slots, boxes, kinds).numpy()
        elsewhere = model.visual(features, ids, slots, boxes, kinds).numpy()
    feeds = {"features": features, "ids": ids, "slots": slots, "boxes": boxes, "kinds": kinds}
    arrays = {name: x.numpy() for name, x in feeds.items()}
    (found,) = run(registers.file("cloud/projector.onnx"), arrays, "embeds")
    np.testing.assert_allclose(found, expected, atol=HALF)
    assert np.abs(found - elsewhere).max() > 5 * HALF


def test_any_number_of_views_goes_through_the_encoder(registers: Bundle) -> None:
    encoder = registers.file("edge/encoder.onnx")
    for count in (1, 2, 5):
        views = np.zeros((count, 96, 160, 3), np.uint8)
        features, saliency, keys = run(encoder, {"views": views}, "features", "saliency", "keys")
        assert features.shape == keys.shape == (count, 8, 32)
        assert saliency.shape == (count, 1, 1, 8)
        assert (np.diff(saliency) < 0).all()


def run(path: Path, feeds: dict[str, npt.NDArray[Any]], *outputs: str) -> list[npt.NDArray[Any]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(outputs, feeds)]


def test_a_view_of_one_vector_is_trained_and_becomes_a_bundle(
    work: Path, tmp_path: Path, frame: Frame
) -> None:
    words = [str(work), str(tmp_path), "--minutes", "0.02", "--threads", "1"]
    bench("-m", "bench.baselines.cls_arm", *words, "--bundle", str(tmp_path / "bundle"))
    bundle = Bundle.open(tmp_path / "bundle")
    bundle.verify()
    manifest = bundle.manifest
    assert (manifest.name, grid_of(manifest), manifest.encoder.dim) == (
        "crossing-cls", (1, 1, 1), 128,
    )  # fmt: skip
    seen = look(bundle, frame)
    tokens = received(bundle, seen)
    with torch.no_grad():
        vectors = recipe.trained_encoder(work)(stacked(views_of(seen)))[3].numpy()
    for view, wanted in zip(tokens.views, vectors, strict=True):
        assert view.tokens.ids.tolist() == [0]
        np.testing.assert_allclose(view.tokens.features[0], wanted, atol=HALF)
    assert answer(bundle, tokens).camera == "gate"


def test_the_pixel_arm_becomes_a_bundle(work: Path, tmp_path: Path, frame: Frame) -> None:
    code = "import sys, pathlib; from bench.baselines.pixel_arm import write_bundle as write; "
    code += "write(*map(pathlib.Path, sys.argv[1:]))"
    bench("-c", code, str(work), str(tmp_path))
    bundle = Bundle.open(tmp_path)
    bundle.verify()
    assert (bundle.manifest.name, grid_of(bundle.manifest)) == ("crossing-pixels", (1, 8, 8))
    assert answer(bundle, received(bundle, look(bundle, frame))).camera == "gate"


def bench(*words: str) -> None:
    """Run Python in a process of its own at the root, where `bench` lies."""
    paths = os.pathsep.join([str(ROOT), *sys.path])
    subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        check=True,
        timeout=100,
    )


def graph_of(weights: dict[str, npt.NDArray[Any]], path: Path) -> None:
    """x [1, 2000] float32 -> y: their sum with every weight, written as one file."""
    nodes, last = [], "x"
    for name, values in weights.items():
        whole = name
        if values.dtype != np.float32:
            whole = f"{name}_float"
            nodes.append(helper.make_node("Cast", [name], [whole], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Add", [last, whole], [f"plus_{name}"]))
        last = f"plus_{name}"
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2000]) for n in "xy"]
    held = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(nodes, "sum", ports[:1], ports[1:], held)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.save(model, str(path))


def test_a_file_forgets_what_it_is_told_to_and_keeps_the_rest(work: Path, tmp_path: Path) -> None:
    model, _ = recipe.trained_language(work)
    path = tmp_path / "projector.onnx"
    onnx_export.projector(model, PATCHES, path)
    known = onnx.load(str(path))
    helper.set_model_props(known, {"date": "2026-11-21", "names": "car"})
    onnx.save(known, str(path))
    onnx_files.forget(path, "date", "description")
    left = onnx.load(str(path))
    assert {entry.key: entry.value for entry in left.metadata_props} == {"names": "car"}
    assert left.graph == known.graph


@pytest.mark.parametrize("name", ["crossing", "crossing-registers"])
def test_no_file_of_a_demo_bundle_names_a_folder_of_the_machine_that_made_it(name: str) -> None:
    bundle = Bundle.open(name)
    said = [
        entry.value
        for file in bundle.manifest.files
        if file.endswith(".onnx")
        for entry in onnx.load(str(bundle.file(file))).metadata_props
    ]
    assert any("car" in value for value in said), "the detector names its classes"
    assert [value for value in said if "data.yaml" in value or value.startswith("/")] == []


def test_large_float_weights_are_halved_and_no_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights: dict[str, npt.NDArray[Any]] = {
        "large": rng.normal(size=(1, 2000)).astype(np.float32),
        "small": rng.normal(size=(1, 1)).astype(np.float32),
        "overflows": np.full((1, 2000), 1e5, np.float32),
        "counts": np.arange(2000, dtype=np.int64)[None],
    }
    path = tmp_path / "sum.onnx"
    graph_of(weights, path)
    x = rng.normal(size=(1, 2000)).astype(np.float32)
    (before,) = run(path, {"x": x}, "y")
    onnx_files.halve(path)
    kinds = {held.name: held.data_type for held in onnx.load(str(path)).graph.initializer}
    assert kinds == {
        "large.half": TensorProto.FLOAT16,
        "small": TensorProto.FLOAT,
        "overflows": TensorProto.FLOAT,
        "counts": TensorProto.INT64,
    }
    (after,) = run(path, {"x": x}, "y")
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before, atol=HALF)


def test_a_halved_model_is_half_as_large_and_computes_the_same(work: Path, tmp_path: Path) -> None:
    model, _ = recipe.trained_language(work)
    whole, halved = tmp_path / "whole.onnx", tmp_path / "halved.onnx"
    onnx_export.projector(model, PATCHES, whole)
    shutil.copyfile(whole, halved)
    onnx_files.halve(halved)
    assert halved.stat().st_size < 0.6 * whole.stat().st_size
    onnx.checker.check_model(str(halved), full_check=True)
    one, other = (onnx.load(str(path)) for path in (whole, halved))
    assert one.ir_version == other.ir_version
    assert one.opset_import == other.opset_import
    feeds: dict[str, npt.NDArray[Any]] = {
        "features": np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32),
        "ids": np.arange(9),
        "slots": np.arange(9) % 5,
        "boxes": np.full((9, 4), 0.5, np.float32),
        "kinds": np.arange(9) % 3,
    }
    before, after = (run(path, feeds, "embeds")[0] for path in (whole, halved))
    np.testing.assert_allclose(after, before, atol=HALF)
    again = halved.read_bytes()
    onnx_files.halve(halved)
    assert halved.read_bytes() == again
