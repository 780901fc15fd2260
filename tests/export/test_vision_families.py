"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL, Gemma 3 and PaliGemma: what the edge's half computes, and in
which sizes.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from saccade.errors import BundleError, LimitExceeded
from saccade.spec.geometry import DynamicGrid
from saccade_export.checkpoint import Checkpoint
from saccade_export.encoder_export import Normalise, PixelEncoder, export_encoder
from saccade_export.families import base
from saccade_export.families.qwen2_vl import grid_sizes
from saccade_export.graph_weights import WeightsFile
from saccade_testing import gemma_checkpoints, grid_checkpoints, tensorrt_parser
from saccade_testing.checkpoint_parts import edit_json
from saccade_testing.checkpoints import make
from saccade_testing.hub_form import published

GRIDS, SQUARES = tuple(grid_checkpoints.FAMILIES), tuple(gemma_checkpoints.FAMILIES)
FAMILIES = GRIDS + SQUARES
U8 = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass
class Family:
    """A tiny checkpoint and all that is made of it."""

    checkpoint: Checkpoint
    adapter: Any
    model: Any
    vision: dict[torch.dtype, Any]

    def encoder(self, bucket: base.Bucket, dtype: torch.dtype = torch.float32) -> PixelEncoder:
        spec = self.adapter.preprocess()
        if dtype not in self.vision:
            self.vision[dtype] = self.checkpoint.vision(dtype)
        tower = self.adapter.tower(self.vision[dtype], bucket).to(dtype)
        normalise = Normalise(spec.scale, spec.mean, spec.std)
        return PixelEncoder(tower, normalise, float32_scores=True).eval()

    def image_features(self, views: U8) -> torch.Tensor:
        """[B, T, D] of transformers on its own processor's pixels; deepstack rows behind the main
        ones.
        """
        made = self.checkpoint.image_processor()(list(views), return_tensors="pt")
        sizes = {k: made[k] for k in ("image_grid_thw",) if k in made}
        with torch.no_grad():
            found = self.model.get_image_features(made["pixel_values"], return_dict=True, **sizes)
        rows = [torch.stack(list(found.pooler_output))]
        rows += [torch.stack(list(row)) for row in getattr(found, "deepstack_features", None) or ()]
        return torch.cat(rows, dim=-1)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return opened(request.param, tmp_path_factory)


@pytest.fixture(scope="module", params=GRIDS)
def grid_family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    return opened(request.param, tmp_path_factory)


def opened(name: str, folders: pytest.TempPathFactory) -> Family:
    if name not in _opened:
        checkpoint = Checkpoint(make(name, folders.mktemp(name)))
        _opened[name] = Family(checkpoint, base.adapter(checkpoint), whole(checkpoint), {})
    return _opened[name]


def whole(checkpoint: Checkpoint) -> Any:
    model: Any = checkpoint.whole()
    return model.model


_opened: dict[str, Family] = {}  # for both fixtures


def noise(size: tuple[int, int], views: int = 2) -> U8:
    return np.random.default_rng(7).integers(0, 256, (views, *size, 3), dtype=np.uint8)


def cosines(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(ours.flatten(0, 1), theirs.flatten(0, 1))


def test_encoder_and_projector_give_the_model_s_own_image_features(family: Family) -> None:
    for bucket in family.adapter.buckets():
        views = noise(bucket.size)
        with torch.no_grad():
            features = family.encoder(bucket)(torch.from_numpy(views))[0]
            projector = family.adapter.projector(family.vision[torch.float32])
            ours = features if projector is None else projector(features)
        assert features.shape[1:] == (np.prod(bucket.grid), family.adapter.tokens().dim)
        torch.testing.assert_close(ours, family.image_features(views), rtol=1e-4, atol=1e-4)


def test_graphs_equal_the_modules_and_tensorrt_takes_them(family: Family, tmp_path: Path) -> None:
    every = family.adapter.buckets()
    buckets = (every[0], every[-1]) if len(every) > 1 else every
    with closing(WeightsFile(tmp_path / "encoder.data")) as weights:
        for bucket in buckets:
            path = tmp_path / f"{bucket.size[0]}x{bucket.size[1]}.onnx"
            encoder = family.encoder(bucket)
            names = export_encoder(encoder, bucket.size, path, weights, "f32")
            assert names == ("features", "saliency", "keys")
            views = noise(bucket.size, views=3)
            with torch.no_grad():
                expected = encoder(torch.from_numpy(views))
            found = onnxruntime.InferenceSession(str(path)).run(None, {"views": views})
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=1e-4, atol=1e-4)
    first = buckets[0].size  # of windows of different sizes, where there are windows
    assert tensorrt_parser.build(tmp_path / f"{first[0]}x{first[1]}.onnx") > 0


def test_half_precision_is_near_and_tensorrt_takes_it(family: Family, tmp_path: Path) -> None:
    bucket = family.adapter.buckets()[-1]
    with closing(WeightsFile(tmp_path / "encoder.data")) as weights:
        half = family.encoder(bucket, torch.float16)
        export_encoder(half, bucket.size, tmp_path / "half.onnx", weights, "f16")
    views = noise(bucket.size)
    session = onnxruntime.InferenceSession(str(tmp_path / "half.onnx"))
    found = torch.from_numpy(session.run(["features"], {"views": views})[0])
    with torch.no_grad():
        expected = family.encoder(bucket)(torch.from_numpy(views))[0]
    assert cosines(found, expected).min() >= 0.999
    assert tensorrt_parser.build(tmp_path / "half.onnx") > 0


def test_saliency_shares_the_same_attention_among_tokens_in_every_head(family: Family) -> None:
    bucket = family.adapter.buckets()[0]
    with torch.no_grad():
        _, saliency, keys = family.encoder(bucket)(torch.from_numpy(noise(bucket.size)))
    tokens = int(np.prod(bucket.grid))
    assert saliency.shape[2:] == (4, tokens)
    assert keys.shape[1] == tokens
    share = saliency.sum(-1)
    assert torch.allclose(share, share.flatten()[0].expand_as(share), atol=1e-4)


def test_a_view_in_a_size_of_the_list_is_what_the_processor_makes_of_it(
    grid_family: Family,
) -> None:
    geometry = grid_family.adapter.geometry()
    assert isinstance(geometry, DynamicGrid)
    assert not geometry.problems()
    images = grid_family.checkpoint.image_processor()
    for size in geometry.sizes:
        layout = geometry.layout(size)
        assert layout.pixels == size
        patches = images.get_number_of_image_patches(*size)
        assert np.prod(layout.grid) * images.merge_size**2 == patches


@pytest.mark.parametrize("size", [(40, 60), (1080, 1920), (1920, 1080), (2000, 11), (7, 7)])
def test_other_views_get_a_size_near_to_the_processor_s(
    grid_family: Family, size: tuple[int, int]
) -> None:
    geometry = grid_family.adapter.geometry()
    wanted = smart_resize(*size, geometry.unit, geometry.min_pixels, geometry.max_pixels)
    chosen = geometry.layout(size).pixels
    assert wanted not in geometry.sizes or chosen == wanted
    if max(wanted) >= 1.5 * min(wanted):
        assert (chosen[0] > chosen[1]) == (wanted[0] > wanted[1])


def test_a_view_too_long_for_the_family_is_refused(grid_family: Family) -> None:
    with pytest.raises(LimitExceeded, match="200"):
        grid_family.adapter.geometry().layout((3, 601))


@pytest.mark.parametrize(("least", "most"), [(4, 16384), (64, 16384), (4, 24), (1, 1), (300, 320)])
def test_sizes_of_views_lie_within_the_processor_s_limits(least: int, most: int) -> None:
    sizes = grid_sizes(least, most)
    assert sizes
    assert len(set(sizes)) == len(sizes)
    assert all(least <= high * wide <= most for high, wide in sizes)


def test_real_limits_give_ten_sizes_upright_and_lying() -> None:
    assert grid_sizes(4, 16384) == (
        (8, 8), (7, 9), (9, 7), (6, 11), (11, 6), (16, 16), (14, 18), (18, 14), (12, 21), (21, 12),
    )  # fmt: skip


def test_specs_say_what_the_families_need(family: Family) -> None:
    name, prompt, tokens = family.adapter.name, family.adapter.prompt(), family.adapter.tokens()
    assert not prompt.problems()
    assert not tokens.problems()
    assert prompt.attention == {"gemma-3": "bidirectional", "paligemma": "prefix"}.get(
        name, "causal"
    )
    positions = {"qwen2-vl": "mrope", "qwen2.5-vl": "mrope", "qwen3-vl": "mrope-interleaved"}
    assert prompt.positions == positions.get(name, "sequential")
    assert tokens.deepstack == (2 if name == "qwen3-vl" else 0)
    stops = {"gemma-3": ("<eos>", "<end_of_turn>"), "paligemma": ("<eos>",)}
    assert prompt.stop == stops.get(name, ("<|im_end|>", "<|endoftext|>"))


def test_a_checkpoint_in_its_published_form_is_the_same(family: Family, tmp_path: Path) -> None:
    older = Checkpoint(published(family.checkpoint.folder, tmp_path / "published"))
    adapter: Any = base.adapter(older)
    for what in ("geometry", "preprocess", "tokens", "prompt", "template", "buckets"):
        assert getattr(adapter, what)() == getattr(family.adapter, what)()
    expected, found = family.model.state_dict(), whole(older).state_dict()
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_a_processor_that_does_not_fit_the_encoder_is_refused(tmp_path: Path) -> None:
    folder = make("gemma3", tmp_path / "gemma3")
    images: dict[str, Any] = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 99, "width": 112},
    }
    edit_json(folder / "processor_config.json", image_processor=images)
    with pytest.raises(BundleError, match=r"99.*112"):
        base.adapter(Checkpoint(folder))
    folder = make("qwen2-vl", tmp_path / "qwen2-vl")
    images = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16}
    edit_json(folder / "processor_config.json", image_processor=images)
    with pytest.raises(BundleError, match=r"patches of 16.*14"):
        base.adapter(Checkpoint(folder))
