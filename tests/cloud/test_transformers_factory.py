"""The checkpoint behind a bundle is found by its files, and is the one that it was made from."""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from saccade.errors import BundleError, DigestMismatch
from saccade.spec import CheckpointFile, CheckpointRef
from saccade_cloud.engines import registry
from saccade_cloud.engines.transformers_engine.factory import find


def folder_of(path: Path, content: bytes) -> Path:
    path.mkdir()
    (path / "config.json").write_bytes(b"{}")
    (path / "model.safetensors").write_bytes(content)
    return path


def reference_to(folder: Path) -> CheckpointRef:
    files = {
        file.name: CheckpointFile(sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
        for file in folder.iterdir()
    }
    return CheckpointRef("LlavaForConditionalGeneration", files)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "own", b"weights")


def test_it_is_found_among_others(own: Path, tmp_path: Path) -> None:
    other = folder_of(tmp_path / "other", b"other weights")
    assert find(reference_to(own), [other, own]) == own


def test_more_files_beside_its_own_do_no_harm(own: Path) -> None:
    checkpoint = reference_to(own)
    (own / "README.md").write_text("more")
    assert find(checkpoint, [own]) == own


def test_without_a_folder_the_option_is_named(own: Path) -> None:
    with pytest.raises(BundleError, match="--checkpoint"):
        find(reference_to(own), [])


def test_other_weights_of_the_same_size_are_another_checkpoint(own: Path) -> None:
    checkpoint = reference_to(own)
    (own / "model.safetensors").write_bytes(b"WEIGHTS")
    with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
        find(checkpoint, [own])


def test_what_is_missing_in_each_folder_is_said(own: Path, tmp_path: Path) -> None:
    short = folder_of(tmp_path / "short", b"w")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BundleError, match=r"has 1 bytes, not 7.*has no config\.json"):
        find(reference_to(own), [short, empty])


def test_a_file_that_leads_out_of_the_folder_is_refused(own: Path, tmp_path: Path) -> None:
    checkpoint = reference_to(own)
    shutil.move(own / "model.safetensors", tmp_path / "elsewhere")
    (own / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="leads out"):
        find(checkpoint, [own])


def test_the_engine_is_registered() -> None:
    assert "transformers" in registry.names()
