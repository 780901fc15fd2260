"""The command line lists everything quickly and says every error in one line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest

from saccade import cli

HEAVY = ("numpy", "google.protobuf", "grpc", "onnxruntime", "cv2", "av", "torch", "saccade_edge")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "saccade", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def offer(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    """Make these the installed commands."""
    entries = [EntryPoint(name, value, cli.GROUP) for name, value in values.items()]
    monkeypatch.setattr(cli, "entry_points", lambda group: entries)


def test_help_lists_every_installed_command() -> None:
    text = run("--help").stdout
    for entry in entry_points(group=cli.GROUP):
        assert f"\n  {entry.name} " in text


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from saccade import cli\n"
        "assert cli.main([]) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["fly"], 2, "invalid choice: 'fly'"),
        (["--fly"], 2, "unrecognized arguments: --fly"),
        (["bundle"], 2, "required: inspect|verify|pack|sample"),
        (["bundle", "verify", "/nowhere/at/all"], 1, "no bundle at /nowhere/at/all"),
    ],
)
def test_an_error_is_one_line(words: list[str], status: int, message: str) -> None:
    result = run(*words)
    assert result.returncode == status
    assert result.stdout == ""
    assert result.stderr.startswith("saccade: error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_debug_shows_the_traceback() -> None:
    result = run("bundle", "verify", "/nowhere", "--debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "BundleError: no bundle at /nowhere" in result.stderr


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, edge="saccade_without_edge.cli:register")
    assert cli.main(["edge", "run"]) == 1
    assert capsys.readouterr().err == (
        "saccade: error: 'saccade edge' needs the package 'saccade_without_edge', "
        "which is not installed: pip install 'saccade-vlm[edge]'\n"
    )


def test_what_has_an_extra_of_its_own_is_named_by_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, export="ultralytics.nowhere:register")
    assert cli.main(["export", "bundle"]) == 1
    assert capsys.readouterr().err.endswith("not installed: pip install 'saccade-vlm[detector]'\n")


def test_a_broken_command_harms_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, edge="nowhere:register", bundle="saccade.bundle_cli:register")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    with pytest.raises(SystemExit, match="0"):
        cli.main(["bundle", "--help"])
    assert "inspect" in capsys.readouterr().out


def test_commands_of_others_say_where_they_come_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(monkeypatch, zebra="json:loads", bundle="saccade.bundle_cli:register")
    assert cli.main([]) == 0
    out = capsys.readouterr().out
    assert out.index("\n  bundle ") < out.index("\n  zebra")


def test_an_interrupt_is_silent(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(words: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupt)
    assert cli.main(["bundle"]) == 130
    assert capsys.readouterr().err == ""


def test_a_missing_manifest_file_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    result = run("bundle", "inspect", str(tmp_path))
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
