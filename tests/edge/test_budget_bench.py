"""The simulation that ranks policies, against numbers by hand."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from statistics import fmean

import pytest
from bench import budget as bench
from bench.budgeting.simulate import Queue, clip_for, reachable, simulate
from bench.budgeting.traces import in_folder, made_up, of_file, of_stretches

from saccade_testing.budget_contract import MANIFEST

OUTAGE = of_stretches("outage", [(20, 50_000.0), (10, 0.0), (30, 50_000.0)])


def test_packets_are_served_in_order_and_time_without_packets_is_lost() -> None:
    queue = Queue(of_stretches("thousand", [(10, 1000.0)], delay_s=0.1))
    assert queue.deliver(500, 5.0) == pytest.approx(5.6, abs=0.001)
    assert queue.deliver(500, 5.0) == pytest.approx(6.1, abs=0.001)
    assert queue.deliver(500, 7.0) == pytest.approx(7.6, abs=0.001)
    assert queue.deliver(5000, 9.0) == pytest.approx(14.1, abs=0.001)  # it begins anew at 10 s
    assert Queue(of_stretches("dead", [(10, 0.0)])).deliver(1, 0.0) == math.inf


def test_files_are_read_where_they_are_in_mahimahis_format(tmp_path: Path) -> None:
    (tmp_path / "a.up").write_text("0\n500\n500\n1000\n")
    (tmp_path / "b.up.gz").write_bytes(gzip.compress(b"100\n200\n"))
    (tmp_path / "README").write_text("Some traces\n")
    (tmp_path / "c.log").write_text("0.5 1.2\n")
    (tmp_path / "falling").write_text("5\n3\n")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    assert [link.name for link in in_folder(tmp_path)] == ["a", "b.up"]
    link = of_file(tmp_path / "a.up")
    assert link is not None
    times = (0.0, 0.4, 0.5, 0.99, 1.5)
    assert [link.bytes_by(s) / 1504 for s in times] == [1, 1, 3, 3, 7]


def test_made_up_links_are_always_the_same() -> None:
    assert [link.name for link in made_up()] == [link.name for link in made_up()]
    for one, other in zip(made_up(), made_up(), strict=True):
        assert one.bytes_by(123.4) == other.bytes_by(123.4)


def test_nobody_beats_the_oracle_and_nobody_reaches_the_unreachable() -> None:
    clip = clip_for(OUTAGE, MANIFEST.points, fps=2.0, deadline_s=2.0, overhead_bytes=100)
    scores = {
        arm.title: bench.score(
            simulate(OUTAGE, clip, bench.budget_for(arm, MANIFEST, OUTAGE, clip)), clip
        )
        for arm in bench.arms(MANIFEST)
    }
    oracle = scores["oracle"]
    assert oracle.on_time == fmean(reachable(OUTAGE, clip))
    assert 1 - oracle.on_time == pytest.approx(17 / 120)  # captured in the first 8 s of the 10
    assert all(score.utility <= oracle.utility for score in scores.values())
    assert all(score.on_time <= oracle.on_time for score in scores.values())
    robust = scores["robust"]
    assert robust.on_time >= oracle.on_time - 6 / 120
    assert robust.utility >= 0.93 * oracle.utility
    assert sum(s > 2.0 for s in robust.latencies_s) <= 6  # what was under way when it began


def test_the_command_prints_a_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "steady.up").write_text("".join(f"{ms}\n" for ms in range(0, 20_000, 40)))
    bench.main(["--traces", str(tmp_path), "--each"])
    lines = capsys.readouterr().out.splitlines()
    record = json.loads(lines[-1])
    assert record["links"] == 1
    assert record["policies"]["robust"]["on_time"] == 1.0
    assert record["out_of_reach"] == 0.0
    assert any(line.startswith("on time, %") for line in lines)


def test_a_folder_without_traces_is_said() -> None:
    with pytest.raises(SystemExit, match="no files in Mahimahi's format"):
        bench.main(["--traces", str(Path(__file__).parent / "nowhere")])
