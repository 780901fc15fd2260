"""The edge's half of a bundle, alone; and files that are too large to be hashed at every start."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from saccade import bundle_files, known_digests
from saccade.bundle import MANIFEST, Bundle, write_manifest
from saccade.bundle_packing import pack
from saccade.cli import main
from saccade.errors import BundleError, DigestMismatch
from saccade.known_digests import Identity, KnownDigests
from saccade_testing.external_models import ELSEWHERE, VALUES, model, tensor
from saccade_testing.paper_bundle import fields, write_paper_bundle

EDGE = {"edge/encoder.onnx", MANIFEST}


@pytest.fixture
def whole(tmp_path: Path) -> Bundle:
    return write_paper_bundle(tmp_path / "whole")


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_edges_half_opens_with_the_same_digests(whole: Bundle, tmp_path: Path) -> None:
    pack(whole, tmp_path / "half", edge=True)
    assert names(tmp_path / "half") == EDGE
    half = Bundle.open(tmp_path / "half")
    assert (half.token_digest, half.digest) == (whole.token_digest, whole.digest)
    assert half.is_edge_half
    assert not whole.is_edge_half
    half.verify()


def test_what_is_not_in_the_half_is_missing(whole: Bundle, tmp_path: Path) -> None:
    pack(whole, tmp_path / "half", edge=True)
    half = Bundle.open(tmp_path / "half")
    with pytest.raises(BundleError, match="tokenizer.json is missing"):
        half.read("cloud/tokenizer.json", 100)
    with pytest.raises(BundleError, match="is an edge's half: the rest is missing"):
        pack(half, tmp_path / "again")
    pack(half, tmp_path / "again", edge=True)
    assert names(tmp_path / "again") == EDGE


def test_a_damaged_file_is_not_packed_and_nothing_is_left(whole: Bundle, tmp_path: Path) -> None:
    path = whole.folder / "edge/encoder.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DigestMismatch, match="edge/encoder.onnx has SHA-256"):
        pack(whole, tmp_path / "half", edge=True)
    assert not (tmp_path / "half").exists()


def test_a_folder_that_is_in_use_is_not_overwritten(whole: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is there already"):
        pack(whole, whole.folder)


def test_halves_of_different_bundles_do_not_make_one(whole: Bundle, tmp_path: Path) -> None:
    """The other's encoder is not the one that the manifest lists."""
    other = write_paper_bundle(tmp_path / "other")
    (other.folder / "edge/encoder.onnx").write_bytes(b"\x08\x08\x3a\x00")
    write_manifest(other.folder, fields())
    assert Bundle.open(other.folder).token_digest != whole.token_digest
    (whole.folder / "edge/encoder.onnx").write_bytes(b"\x08\x08\x3a\x00")
    with pytest.raises(BundleError, match=r"edge/encoder\.onnx has 4 bytes"):
        whole.verify()


def test_the_command_says_what_it_wrote(
    whole: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "half"
    assert main(["bundle", "pack", str(whole.folder), "--edge", "--out", str(out)]) == 0
    assert "the edge's half of paper, " in capsys.readouterr().out
    assert main(["bundle", "verify", str(out)]) == 0
    assert "ok: paper, 1 files of the edge's half" in capsys.readouterr().out


class TestTokenDigest:
    """What changes it and what does not."""

    def written(self, folder: Path, **change: object) -> Bundle:
        write_manifest(folder, {**fields(), **change})
        return Bundle.open(folder)

    def test_another_language_side_keeps_it(self, whole: Bundle) -> None:
        (whole.folder / "cloud/decoder.onnx").write_bytes(b"\x08\x08\x3a\x00")
        other = self.written(whole.folder, accuracy={"macro": 0.9}, name="later")
        assert other.token_digest == whole.token_digest
        assert other.digest != whole.digest

    @pytest.mark.parametrize("part", ["codecs", "detector", "encoder"])
    def test_another_codec_label_or_preprocessing_changes_it(
        self, whole: Bundle, part: str
    ) -> None:
        changed = json.loads((whole.folder / MANIFEST).read_text())
        changed["encoder"]["preprocess"]["resample"] = "bicubic"
        detector = {
            "file": "edge/encoder.onnx",
            "layout": "yolo-v8",
            "input": [96, 160],
            "labels": ["dog"],
            "score": 0.5,
            "iou": 0.5,
        }
        changes = {"codecs": ["f16"], "detector": detector, "encoder": changed["encoder"]}
        assert self.written(whole.folder, **{part: changes[part]}).token_digest != (
            whole.token_digest
        )

    def test_an_edited_one_is_refused(self, whole: Bundle) -> None:
        data = json.loads((whole.folder / MANIFEST).read_text())
        data["token_digest"] = "0" * 64
        (whole.folder / MANIFEST).write_text(json.dumps(data))
        with pytest.raises(DigestMismatch, match="states digest|states token_digest"):
            Bundle.open(whole.folder)

    def test_the_encoders_external_data_is_part_of_it(self, tmp_path: Path) -> None:
        whole = write_paper_bundle(tmp_path)
        encoder = model(tensor(offset="4", length="16"))
        (tmp_path / "edge/encoder.onnx").write_bytes(encoder.SerializeToString())
        weights = tmp_path / "edge" / ELSEWHERE
        listed = {**fields()["files"], f"edge/{ELSEWHERE}": {"license": "Apache-2.0"}}
        digests = set()
        for first in (b"head", b"HEAD"):
            weights.write_bytes(first + VALUES.tobytes() + b"tail")
            bundle = self.written(tmp_path, files=listed)
            assert bundle.manifest.encoder.data == (f"edge/{ELSEWHERE}",)
            bundle.verify()
            pack(bundle, tmp_path.parent / f"{tmp_path.name}-{first.decode()}", edge=True)
            digests.add(bundle.token_digest)
        assert len(digests) == 2
        assert whole.token_digest not in digests


class TestLargeFiles:
    @pytest.fixture(autouse=True)
    def _small_is_large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(known_digests, "LARGE_BYTES", 16)
        monkeypatch.setattr(bundle_files, "MAX_COPIED_BYTES", 16)
        monkeypatch.setattr(bundle_files, "DIGESTS", KnownDigests(None))

    def old(self, path: Path) -> Identity:
        """Last changed an hour ago; the inode's own time cannot be set."""
        before = path.stat().st_mtime_ns - 3_600_000_000_000
        os.utime(path, ns=(before, before))
        return Identity.of(path.stat())

    def test_a_digest_is_remembered_until_the_file_changes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "weights"
        path.write_bytes(bytes(100))
        identity = self.old(path)
        monkeypatch.setattr(known_digests, "_SETTLED_NS", 0)
        first = KnownDigests(tmp_path / "state/digests.json")
        assert first.get(identity) is None
        first.put(identity, "ab" * 32)
        later = KnownDigests(tmp_path / "state/digests.json")
        assert later.get(identity) == "ab" * 32
        assert (tmp_path / "state/digests.json").stat().st_mode & 0o777 == 0o600
        path.write_bytes(bytes(99) + b"1")
        assert later.get(Identity.of(path.stat())) is None

    def test_what_was_just_changed_is_not_remembered(self, tmp_path: Path) -> None:
        path = tmp_path / "weights"
        path.write_bytes(bytes(100))
        known = KnownDigests(None)
        known.put(Identity.of(path.stat()), "ab" * 32)
        assert known.get(Identity.of(path.stat())) is None

    @pytest.mark.parametrize("content", [b"", b"{", b'{"saccade digests": 7}', b"other", bytes(50)])
    def test_a_file_that_is_not_ours_costs_nothing(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "digests.json"
        path.write_bytes(content)
        weights = tmp_path / "weights"
        weights.write_bytes(bytes(100))
        assert KnownDigests(path).get(Identity.of(weights.stat())) is None

    def test_large_data_are_opened_where_they_are(self, tmp_path: Path) -> None:
        bundle = self.external(tmp_path)
        with bundle.model("edge/encoder.onnx").opened() as opened:
            assert opened == str(tmp_path / "edge/encoder.onnx")

    def test_data_that_change_while_they_are_opened_are_refused(self, tmp_path: Path) -> None:
        bundle = self.external(tmp_path)
        weights = tmp_path / "edge" / ELSEWHERE
        other = tmp_path / "other"
        other.write_bytes(weights.read_bytes())
        file = bundle.model("edge/encoder.onnx")
        with pytest.raises(DigestMismatch, match="was changed while it was opened"), file.opened():
            other.replace(weights)

    def test_data_that_a_link_leads_out_of_the_bundle_are_refused(self, tmp_path: Path) -> None:
        bundle = self.external(tmp_path / "bundle")
        weights = tmp_path / "bundle/edge" / ELSEWHERE
        weights.rename(tmp_path / "outside")
        weights.symlink_to(tmp_path / "outside")
        file = bundle.model("edge/encoder.onnx")
        with pytest.raises(BundleError, match="is a link out of the bundle"), file.opened():
            pass

    def external(self, folder: Path) -> Bundle:
        """A bundle whose encoder has its weights beside it."""
        write_paper_bundle(folder)
        encoder = model(tensor(offset="4", length="16"))
        (folder / "edge/encoder.onnx").write_bytes(encoder.SerializeToString())
        (folder / "edge" / ELSEWHERE).write_bytes(b"head" + VALUES.tobytes() + b"tail")
        listed = {**fields()["files"], f"edge/{ELSEWHERE}": {"license": "Apache-2.0"}}
        write_manifest(folder, {**fields(), "files": listed})
        return Bundle.open(folder)
