"""The examples of docs/guide/sdk.md run as they stand there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from saccade.bundle import MANIFEST, Bundle, sample_clip, write_manifest
from saccade.errors import SaccadeError
from saccade_testing.commands import run

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "sdk.md"
ADDRESS = "127.0.0.1:7860"


def test_the_examples_run(
    cloud: str,
    bundle: Bundle,
    picture: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = ("--device", "kerb", "--camera", "gate", "--bundle", str(bundle.folder))
    done = run("edge", "run", str(picture), "--cloud", cloud, *names)
    assert done.returncode == 0, done.stderr
    shutil.copy(picture, tmp_path / "crossing.png")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(examples) >= 9
    names_in_examples: dict[str, object] = {}
    for number, example in enumerate(examples, 1):
        code = compile(example.replace(ADDRESS, cloud), f"example {number}", "exec")
        exec(code, names_in_examples)
    said = capsys.readouterr().out
    for expected in (
        "there is no vehicle 9 in this frame: it has vehicle 1 (",
        "the model does not know 'color' (did you mean 'colour'?)",
        "the newest frame of kerb/gate is ",
        bundle.manifest.domain,
        "unreachable the cloud at 127.0.0.1:9 does not answer",
        "keeps no history",
    ):
        assert expected in said


def test_every_error_that_the_guide_names_is_one() -> None:
    from saccade import errors

    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", GUIDE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"bytes"}
    assert len(named) >= 8
    assert all(issubclass(getattr(errors, name), SaccadeError) for name in named)


def test_the_guides_number_of_words_is_the_bundles(bundle: Bundle) -> None:
    assert f"knows only {len(bundle.manifest.questions.words)} words" in GUIDE.read_text()


def test_a_command_prints_where_the_sample_clip_lies(bundle: Bundle) -> None:
    for words in ((), ("crossing",), ("crossing-registers",)):
        done = run("bundle", "sample", *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(done.stdout.removesuffix("\n")).is_file()
        assert Path(done.stdout.strip()) == sample_clip(bundle)


def test_a_bundle_of_another_family_has_no_sample(other_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(other_bundle.folder, folder)
    fields = json.loads((folder / MANIFEST).read_text())
    write_manifest(folder, {**fields, "family": "another"})
    done = run("bundle", "sample", str(folder))
    assert done.returncode == 1
    assert done.stderr == "saccade: error: bundle 'tiny' has no sample clip\n"


def test_inspect_shows_the_domain_and_questions_to_try(bundle: Bundle) -> None:
    text = run("bundle", "inspect", str(bundle.folder)).stdout
    assert f"domain     {bundle.manifest.domain}\n" in text
    assert "example    what colour is vehicle 1 ?\n" in text
    assert "{crop}" not in text
    assert "{closeup}" not in text
