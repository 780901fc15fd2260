"""``saccade export hf``: a checkpoint folder becomes a bundle that opens, or a clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saccade.bundle import Bundle
from saccade.errors import BundleError, ConfigError
from saccade_edge import preprocess
from saccade_export import encoder_parity, hf_export
from saccade_export.checkpoint import Checkpoint
from saccade_export.encoder_parity import Parity
from saccade_export.families import base
from saccade_export.hf_export import HfExport, HfExportSettings
from saccade_testing import checkpoints
from saccade_testing.checkpoint_parts import edit_json


def quiet(_: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures that differ in aspect."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(120, 200), (180, 90)]):
        levels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make("smolvlm", tmp_path_factory.mktemp("checkpoint") / "tiny-smolvlm")


def exported(folder: Path, out: Path, photos: Path, **settings: Any) -> HfExport:
    return hf_export.export(folder, out, HfExportSettings(photos=photos, **settings), quiet)


@pytest.mark.parametrize("family", sorted(checkpoints.FAMILIES))
def test_every_family_becomes_a_bundle_that_opens(
    family: str, tmp_path: Path, photos: Path
) -> None:
    folder = checkpoints.make(family, tmp_path / "checkpoint")
    result = exported(folder, tmp_path / "bundle", photos)
    bundle = Bundle.open(tmp_path / "bundle")
    bundle.verify()
    assert bundle.manifest == result.manifest
    assert all(parity.least >= 0.9999 for parity in result.parities)
    assert {bucket.size for bucket in base.adapter(Checkpoint(folder)).buckets()} == {
        parity.size for parity in result.parities
    }
    reference = bundle.manifest.language.checkpoint
    assert reference is not None
    assert "model.safetensors" in reference.files


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_smaller_weights_stay_near_torch(
    made: Path, tmp_path: Path, photos: Path, precision: str
) -> None:
    whole = exported(made, tmp_path / "f32", photos)
    small = exported(made, tmp_path / precision, photos, precision=precision)
    assert small.parities[0].least < 1
    weights = [one.manifest.files["edge/encoder.weights"].bytes for one in (whole, small)]
    assert weights[1] < 0.7 * weights[0]
    # A token of another precision is another token.
    assert small.manifest.token_digest != whole.manifest.token_digest


def test_the_cut_is_behind_the_projector_only_where_tokens_are_narrower_there(
    made: Path, tmp_path: Path, photos: Path
) -> None:
    # SmolVLM: 2 x 2 patches of 32 are wider than the language model's 48; LLaVA's 32 are not.
    narrow = exported(made, tmp_path / "smolvlm", photos).manifest
    assert narrow.language.projector is None
    assert narrow.encoder.tokens.dim == narrow.language.width == 48
    llava = checkpoints.make("llava", tmp_path / "llava-checkpoint")
    wide = exported(llava, tmp_path / "llava", photos).manifest
    assert wide.language.projector is not None
    assert wide.encoder.tokens.dim == 32


def test_the_language_model_can_be_written_as_graphs_too(
    made: Path, tmp_path: Path, photos: Path
) -> None:
    manifest = exported(made, tmp_path / "out", photos, language="f16").manifest
    assert manifest.language.onnx is not None
    assert (manifest.language.onnx.heads, manifest.language.onnx.kv_heads) == (4, 2)
    Bundle.open(tmp_path / "out").verify()
    alone = exported(made, tmp_path / "alone", photos).manifest
    # The language side changes nothing about what a token means.
    assert alone.token_digest == manifest.token_digest


def test_sharded_weights_give_the_same_tokens(made: Path, tmp_path: Path, photos: Path) -> None:
    sharded = checkpoints.make("smolvlm", tmp_path / "sharded", shard_bytes=200_000)
    assert len(list(sharded.glob("*.safetensors"))) > 1
    one = exported(made, tmp_path / "one", photos)
    many = exported(sharded, tmp_path / "many", photos)
    assert many.manifest.token_digest == one.manifest.token_digest


def test_saliency_and_keys_can_be_left_out(made: Path, tmp_path: Path, photos: Path) -> None:
    bare = exported(made, tmp_path / "bare", photos, saliency=False, keys=False).manifest
    assert bare.encoder.offers == frozenset()
    full = exported(made, tmp_path / "full", photos).manifest
    assert full.encoder.offers == {"saliency", "keys"}


def test_a_broken_encoder_fails_with_the_numbers_and_is_no_bundle(
    made: Path, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(encoder_parity.LIMITS, "int8", 0.999999)
    with pytest.raises(BundleError, match=r"56 x 56: least cosine 0\.99\d+.*int8 needs 0\.999999"):
        exported(made, tmp_path / "out", photos, precision="int8")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_parity_is_of_the_worst_token_and_refuses_what_is_no_number() -> None:
    fine = Parity((8, 8), 0.99995, 1.0, 4, 1)
    encoder_parity.require([fine], "f32")
    with pytest.raises(BundleError, match="nan"):
        encoder_parity.require([fine, Parity((8, 8), float("nan"), 1.0, 4, 1)], "f32")


def test_an_unknown_architecture_names_the_known_ones_and_the_contract(
    made: Path, tmp_path: Path, photos: Path
) -> None:
    folder = shutil.copytree(made, tmp_path / "other")
    edit_json(folder / "config.json", architectures=["FuyuForCausalLM"])
    with pytest.raises(BundleError, match=r"FuyuForCausalLM.*SmolVLMFor.*families/base\.py"):
        exported(folder, tmp_path / "out", photos)


def test_code_in_a_checkpoint_is_never_run(made: Path, tmp_path: Path, photos: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "code")
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(
        f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\nclass EvilConfig: pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    kinds = ("AutoConfig", "AutoModelForImageTextToText", "AutoProcessor", "AutoImageProcessor")
    config["auto_map"] = dict.fromkeys(kinds, "evil.Evil")
    (folder / "config.json").write_text(json.dumps(config))
    edit_json(folder / "processor_config.json", auto_map={"AutoProcessor": "evil.Evil"})
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    exported(folder, tmp_path / "out", photos)
    assert not ran.exists()


def test_missing_and_truncated_weights_are_named_with_their_sizes(
    made: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(made, tmp_path / "cut")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(BundleError, match=r"model\.safetensors is truncated: tensor .* byte \d+"):
        Checkpoint(folder)
    weights.write_bytes(whole[:5])
    with pytest.raises(BundleError, match="has 5 bytes"):
        Checkpoint(folder)
    weights.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(BundleError, match=r"only pytorch_model\.bin; convert"):
        Checkpoint(folder)


def test_a_shard_that_is_missing_or_outside_is_refused(tmp_path: Path) -> None:
    folder = checkpoints.make("smolvlm", tmp_path / "sharded", shard_bytes=200_000)
    first = sorted(folder.glob("model-*.safetensors"))[0]
    first.rename(tmp_path / first.name)
    with pytest.raises(BundleError, match=f"lacks 1 of .*{first.name}"):
        Checkpoint(folder)
    index = folder / "model.safetensors.index.json"
    fields = json.loads(index.read_text())
    names = fields["weight_map"]
    fields["weight_map"] = {key: f"../{value}" for key, value in names.items()}
    index.write_text(json.dumps(fields))
    with pytest.raises(BundleError, match="outside the folder"):
        Checkpoint(folder)


def test_weights_of_another_shape_than_the_configuration_are_named(
    made: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(made, tmp_path / "shape")
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 64
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleError, match="mismatched tensors: .*fc1"):
        Checkpoint(folder).vision()


def test_an_output_folder_that_holds_something_is_left_alone(
    made: Path, tmp_path: Path, photos: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        exported(made, tmp_path, photos)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_bundles_preprocessing_is_read_back_as_it_was_written(
    made: Path, tmp_path: Path, photos: Path
) -> None:
    exported(made, tmp_path / "out", photos)
    spec = Bundle.open(tmp_path / "out").manifest.encoder
    adapter = base.adapter(Checkpoint(made))
    assert (spec.geometry, spec.preprocess) == (adapter.geometry(), adapter.preprocess())
    picture = np.random.default_rng(1).integers(0, 255, (100, 70, 3), dtype=np.uint8)
    tiles = preprocess.tiles(picture, spec.geometry.layout((100, 70)), spec.preprocess)
    assert tiles.shape[0] > 1
