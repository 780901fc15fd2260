"""Checkpoints that are damaged, incomplete, or bring code: a typed error before any model runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from saccade.errors import BundleError, ConfigError
from saccade_cloud.engines.transformers_engine.checkpoint import open_model
from saccade_cloud.engines.transformers_engine.engine import CheckpointModel
from saccade_testing import checkpoints
from saccade_testing.checkpoint_parts import edit_json

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoints.make("llava", tmp_path_factory.mktemp("good") / "llava")


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "llava"))


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def with_pickled_weights(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def truncated(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.endswith("down_proj.weight"))
    del tensors[name]
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def with_a_tensor_of_another_shape(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.endswith("down_proj.weight"))
    tensors[name] = tensors[name][:-1].contiguous()
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_a_list_for_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def with_nested_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"a":' * 100_000)


def of_an_unknown_architecture(folder: Path) -> None:
    edit_json(folder / "config.json", architectures=["ToasterForConditionalGeneration"])


def of_an_unknown_type(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="toaster")


def that_names_what_is_no_model(folder: Path) -> None:
    edit_json(folder / "config.json", architectures=["AutoConfig", "logging"])


def with_a_link_out(folder: Path) -> None:
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / WEIGHTS, outside)
    (folder / WEIGHTS).symlink_to(outside)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_weights, "safetensors"),
        (with_pickled_weights, "safetensors"),
        (truncated, "cannot be loaded"),
        (without_a_tensor, "no weights for .*down_proj.weight"),
        (with_a_tensor_of_another_shape, "cannot be loaded"),
        (without_config, "config.json"),
        (with_a_list_for_config, "no JSON object"),
        (with_nested_config, "config.json"),
        (of_an_unknown_architecture, "ToasterForConditionalGeneration"),
        (of_an_unknown_type, "toaster"),
        (that_names_what_is_no_model, "AutoConfig, logging"),
        (with_a_link_out, "leads out of the checkpoint"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_checkpoint_that_cannot_be_opened_says_why(
    folder: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=message):
        open_model(folder)


def test_code_in_a_checkpoint_never_runs(folder: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\n")
    edit_json(
        folder / "config.json",
        auto_map={"AutoConfig": "modeling.Config", "AutoModelForImageTextToText": "modeling.Model"},
    )
    open_model(folder)
    assert not ran.exists()


def test_a_folder_that_is_not_there_is_a_bundle_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no folder"):
        open_model(tmp_path / "nowhere")


def test_weights_in_several_files_are_one_model(tmp_path: Path) -> None:
    folder = checkpoints.make("llava", tmp_path / "sharded", shard_bytes=100_000)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    assert CheckpointModel.open(folder).language.width == 48


@pytest.mark.parametrize(
    ("dtype", "device"), [("f64", "cpu"), ("f32", "toaster"), ("f32", "cuda:99")]
)
def test_a_format_or_device_that_is_not_there_is_a_config_error(
    good: Path, dtype: str, device: str
) -> None:
    with pytest.raises(ConfigError, match=dtype if dtype == "f64" else device):
        CheckpointModel.open(good, dtype=dtype, device=device)


def test_a_model_whose_scores_are_more_than_its_head_is_refused(good: Path) -> None:
    model = open_model(good)
    forward = model.forward

    def scaled(*args: object, **kwargs: object) -> object:
        output = forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output

    model.forward = scaled
    with pytest.raises(BundleError, match="in a way that is not known here"):
        CheckpointModel.of(model)


def test_half_floats_are_opened_as_half_floats(tmp_path: Path) -> None:
    folder = checkpoints.make("llava", tmp_path / "half", dtype=torch.float16)
    assert open_model(folder).dtype == torch.float16
    assert open_model(folder, dtype="f32").dtype == torch.float32
