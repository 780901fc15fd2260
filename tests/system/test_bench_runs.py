"""The benchmarks of load and of endurance run from end to end, small."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from bench import soak, streams
from bench.process import descriptors, memory, processor_s, state_folder
from bench.soak import looped

from saccade.bundle import Bundle
from saccade_edge.source import open_source


def test_three_edges_for_two_seconds(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--edges=3", "--rates=30", "--rounds=1", "--seconds=2", "--warm=0.5")
    streams.main((f"--bundle={bundle.folder}", *small))
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert {"edges", "packets_per_s", "ack_p99_ms", "idle_stream_kb"} < set(found)
    assert found["edges"] == 3
    # Every packet was acknowledged: how soon is this machine's affair.
    acked = next(line for line in lines if line.startswith("30/s: acknowledged a second"))
    assert [float(word) for word in acked.split()[-2:]] == pytest.approx([30, 30], abs=1)


def test_a_short_soak_survives_a_cut(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    short = ("--minutes=0.3", "--cut-every=8", "--fps=2")
    soak.main((f"--bundle={bundle.folder}", *short))  # so short that growth says nothing
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(lines[-1])
    assert found["answers_per_s"] > 0
    assert found["fds_edge"] > 3
    cuts = next(line for line in lines if line.startswith("connections cut"))
    assert int(cuts.split()[2]) >= 1
    assert not any("no answers" in line or "refused" in line for line in lines)


def test_a_looped_clip_goes_on_where_it_ended(clip: Path, tmp_path: Path) -> None:
    with open_source(str(clip), "camera", fps=1.0) as once:
        frames = sum(1 for _ in once)
    with open_source(str(looped(clip, tmp_path, 0.0)), "camera", fps=1.0) as source:
        shown = [frame.captured_ns for frame in source]
    assert len(shown) >= 2 * frames
    assert shown == sorted(set(shown))


def test_a_process_tells_its_memory_time_and_files(tmp_path: Path) -> None:
    me = os.getpid()
    before = descriptors(me)
    with (tmp_path / "open").open("w"):
        assert descriptors(me) == before + 1
    assert 10_000 < memory(me).private_kb <= memory(me).rss_kb
    used_s = processor_s(me)
    until_s = time.process_time() + 0.1
    while time.process_time() < until_s:
        pass
    assert processor_s(me) >= used_s + 0.08


def test_a_benchmark_keeps_its_state_out_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/mine")
    with state_folder() as folder:
        assert os.environ["STATE_DIRECTORY"] == str(folder)
        assert folder.is_dir()
    assert os.environ["STATE_DIRECTORY"] == "/var/lib/mine"
    assert not folder.exists()
