"""LLaVA-1.5, LLaVA-OneVision, SmolVLM, Idefics3 and InternVL: what the edge's half computes."""

from __future__ import annotations

import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from saccade_export import encoder_export, encoder_parity
from saccade_export.checkpoint import Checkpoint
from saccade_export.encoder_export import Normalise, PixelEncoder, export_encoder
from saccade_export.export_attention import recording
from saccade_export.families import base
from saccade_export.graph_weights import Precision, WeightsFile
from saccade_testing import tensorrt_parser, tiled_checkpoints

FAMILIES = tuple(tiled_checkpoints.FAMILIES)


class Opened:
    """A tiny checkpoint, its adapter, and tiles of noise."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = Checkpoint(folder)
        self.adapter = base.adapter(self.checkpoint)
        self.bucket = self.adapter.buckets()[0]
        shape = (3, *self.bucket.size, 3)
        self.tiles = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)

    def encoder(self, dtype: torch.dtype = torch.float32) -> PixelEncoder:
        spec = self.adapter.preprocess()
        tower = self.adapter.tower(self.checkpoint.vision(), self.bucket).to(dtype)
        return PixelEncoder(tower, Normalise(spec.scale, spec.mean, spec.std)).eval()

    def graph(self, folder: Path, precision: Precision) -> Path:
        dtype = torch.float16 if precision == "f16" else torch.float32
        path = folder / f"{precision}.onnx"
        with closing(WeightsFile(folder / f"{precision}.weights")) as weights:
            export_encoder(self.encoder(dtype), self.bucket.size, path, weights, precision)
        return path


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("checkpoint") / request.param
    return Opened(tiled_checkpoints.FAMILIES[request.param](folder))


def image_features(opened: Opened) -> torch.Tensor:
    """[B, T, width] of transformers' own model, its tiles taken as pictures of their own."""
    spec = opened.adapter.preprocess()
    levels = torch.from_numpy(opened.tiles).float() * spec.scale
    pixels = ((levels - torch.tensor(spec.mean)) / torch.tensor(spec.std)).permute(0, 3, 1, 2)
    model: Any = opened.checkpoint.whole()
    count = len(pixels)
    with torch.no_grad():
        if opened.adapter.separators(model):  # several pictures of one prompt: one tile each
            sizes = torch.tensor([[50, 50]] * count)
            found = model.get_image_features(
                pixels[:, None], image_sizes=sizes, batch_num_images=torch.tensor([count])
            ).pooler_output
            return torch.stack([rows[:-1] for rows in found])  # without the separator
        if opened.checkpoint.preprocessor.get("max_image_size"):  # tiles of one picture
            rows: torch.Tensor = model.get_image_features(pixels[None]).pooler_output[0]
            return rows.reshape(count, -1, rows.shape[-1])
        return torch.stack(list(model.get_image_features(pixels).pooler_output))


def test_encoder_and_projector_give_the_models_own_image_features(family: Opened) -> None:
    with torch.no_grad():
        features = family.encoder()(torch.from_numpy(family.tiles))[0]
        projector = family.adapter.projector(family.checkpoint.vision())
        found = features if projector is None else projector(features)
    high, wide = family.bucket.grid
    assert features.shape == (3, high * wide, family.adapter.tokens().dim)
    torch.testing.assert_close(found, image_features(family), rtol=1e-4, atol=1e-4)


def test_saliency_is_the_attention_that_the_model_pays(family: Opened) -> None:
    encoder = family.encoder()
    with torch.no_grad(), recording() as calls:
        views = torch.from_numpy(family.tiles)
        encoder(views)
        saliency = encoder(views)[1]
    del calls
    assert saliency.shape[0] == 3
    assert saliency.shape[-1] == np.prod(family.bucket.grid)
    assert (saliency >= 0).all()
    # A row of attention sums to 1: CLS keeps some of its own, blocks are means.
    assert (saliency.sum(-1) <= 1 + 1e-5).all()
    assert saliency.std(-1).min() > 0


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_graphs_are_near_torch_and_tensorrt_builds_them(
    family: Opened, tmp_path: Path, precision: Precision
) -> None:
    path = family.graph(tmp_path, precision)
    with torch.no_grad():
        expected = family.encoder()(torch.from_numpy(family.tiles))
    found = onnxruntime.InferenceSession(str(path)).run(None, {"views": family.tiles})
    found = [np.asarray(each) for each in found]
    least = encoder_parity.cosine(found[0], expected[0].numpy()).min()
    assert least >= encoder_parity.LIMITS[precision]
    if precision == "f32":
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-4, atol=1e-4)
    assert tensorrt_parser.build(path) > 0


def test_a_graph_casts_first_and_has_no_shape_that_depends_on_values(
    family: Opened, tmp_path: Path
) -> None:
    graph = onnx.load(str(family.graph(tmp_path, "f32")), load_external_data=False).graph
    assert graph.node[0].op_type == "Cast"
    assert list(graph.node[0].input) == ["views"]
    assert not {node.op_type for node in graph.node} & encoder_export.FORBIDDEN
    # Weights are transposed where they are stored, not each time.
    stored = {tensor.name for tensor in graph.initializer}
    turned = [n for n in graph.node if n.op_type == "Transpose" and n.input[0] in stored]
    assert turned == []
    # And each is stored once.
    outside = [tensor for tensor in graph.initializer if tensor.external_data]
    held = sum(4 * math.prod(tensor.dims) for tensor in outside)
    assert held <= (tmp_path / "f32.weights").stat().st_size <= held + 64 * len(outside)


def test_a_template_writes_the_first_token_that_a_tokenizer_would_add_by_itself(
    tmp_path: Path,
) -> None:
    folder = tiled_checkpoints.llava(tmp_path)
    plain = base.adapter(Checkpoint(folder))
    assert plain.template() == Checkpoint(folder).chat_template()
    saved = json.loads((folder / "tokenizer.json").read_text())
    first = next(t["id"] for t in saved["added_tokens"] if t["content"] == "<s>")
    saved["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [first], "tokens": ["<s>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    adding = base.adapter(Checkpoint(folder))
    assert adding.template() == "{{ bos_token }}" + plain.template()
    assert adding.prompt().template_args["bos_token"] == "<s>"
