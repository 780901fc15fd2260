"""``saccade bundle inspect`` and ``verify``, as people read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from saccade.bundle import MANIFEST, read_fields, write_manifest
from saccade.cli import main
from saccade_testing.paper_bundle import ENCODER, write_paper_bundle

POINT = {
    "crops": 4, "tokens": {"overview": 16, "crop": 4, "closeup": 4}, "codec": "f16", "layers": 1,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_paper_bundle(tmp_path)
    fields = read_fields(tmp_path)
    fields["files"]["edge/encoder.onnx"]["license"] = "AGPL-3.0-only"
    fields["points"] = [POINT | {"bytes": 99.0, "agreement": 0.9}]
    fields["selection"]["point"] = 0
    fields["accuracy"] = {"macro": 0.9, "by_type": {"plate": 0.98, "of": {"x": [1, 2]}}}
    fields["family"] = "tiny\x1b[2J"
    write_manifest(tmp_path, {k: v for k, v in fields.items() if k not in ("digest", "format")})
    return tmp_path


def test_inspect_is_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "inspect", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("point      0* 4 crops") for line in lines)
    assert "           * used where nobody chooses a point" in lines
    assert "accuracy   by_type, plate: 0.98" in lines
    assert "accuracy   by_type, of, x: 1, 2" in lines
    assert not any("{" in line for line in lines)
    assert f"file       edge/encoder.onnx  {len(ENCODER)} bytes  licence AGPL-3.0-only" in lines
    assert "name       paper (tiny\\x1b[2J)" in lines  # the terminal is not told to clear itself


def test_inspect_prints_the_manifest_for_programs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((folder / MANIFEST).read_text())


def test_verify_names_what_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("ok: paper, 6 files")
    (folder / "cloud/embed.onnx").write_bytes(b"cut")
    assert main(["bundle", "verify", str(folder)]) == 1
    assert "cloud/embed.onnx has 3 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["crossing", "crossing-registers"])
def test_the_shipped_bundles_state_every_files_licence(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "inspect", name]) == 0
    files = [line for line in capsys.readouterr().out.splitlines() if line.startswith("file ")]
    assert len(files) == 9
    for line in files:
        licence = "AGPL-3.0-only" if "edge/detector.onnx" in line else "Apache-2.0"
        assert line.endswith(f"  licence {licence}")
