from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import pytest

from saccade_edge.cli import register
from saccade_edge.spool import SpoolSettings
from saccade_edge.watch_arguments import spool_settings
from saccade_testing.commands import run
from saccade_testing.spools import entry, opened


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register(parser)
    return parser.parse_args(["run", *words, "--bundle", "x", "--cloud", "127.0.0.1:7860"])


def test_a_file_can_be_read_again_a_camera_cannot(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert spool_settings(parsed("clip.mp4")) is None
    assert spool_settings(parsed("file:///clip.mp4")) is None
    usual = SpoolSettings(tmp_path / "saccade" / "north.spool")
    assert spool_settings(parsed("rtsp://gate/1", "--camera", "north")) == usual
    assert spool_settings(parsed("v4l2:///dev/video0", "--spool", "none")) is None
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/saccade")
    at_systemd = spool_settings(parsed("rtsp://gate/1", "--camera", "north"))
    assert at_systemd == SpoolSettings(Path("/var/lib/saccade/north.spool"))
    words = ("--spool", "s", "--spool-bytes", "1000", "--keep-hours", "0.5")
    assert spool_settings(parsed("clip.mp4", *words)) == SpoolSettings(Path("s"), 1000, 0.5)


@pytest.mark.parametrize(
    "words", [("--keep-hours", "0"), ("--spool-bytes", "-1"), ("--deadline", "nan")]
)
def test_bounds_are_above_zero(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("clip.mp4", *words)
    assert words[0] in capsys.readouterr().err


def test_a_spool_is_shown_while_it_is_in_use(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "spool"
        async with opened(path, quota_bytes=100_000) as it:
            for sequence in range(1, 6):
                assert await it.spool.put(entry(sequence), sending=True) is None
            it.spool.settle(1, "delivered")
            it.spool.settle(2, "refused:packet")
            assert await it.spool.put(entry(6), sending=True) is None  # all before it is done
            shown = await asyncio.to_thread(run, "edge", "spool", str(path))
            assert (shown.returncode, shown.stderr) == (0, "")
            lines = shown.stdout.splitlines()
            assert lines[0].startswith(f"{path}: device kerb, boot ")
            assert lines[1].startswith("waiting: 4 packets, ")
            assert lines[2].startswith("  north: 4 packets, ")
            assert lines[3:] == ["handed over: 6, delivered: 1", "  refused:packet: 1"]
            shown = await asyncio.to_thread(run, "edge", "spool", str(path), "--json")
            record = json.loads(shown.stdout)
            assert (record["packets"], record["handed"], record["lost"]) == (4, 6, 1)
            assert [group["packets"] for group in record["waiting"]] == [4]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_spool_that_is_not_there_is_an_error_in_one_line(tmp_path: Path) -> None:
    shown = run("edge", "spool", str(tmp_path / "gone"))
    assert shown.returncode == 1
    assert shown.stderr == f"saccade: error: there is no spool at {tmp_path / 'gone'}\n"
