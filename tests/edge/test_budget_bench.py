"""The simulation that ranks policies, against numbers by hand."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest
from bench import budget as bench
from bench.budget_simulation.simulate import Queue, clip_for, reachable, simulate
from bench.link.trace import Trace
from bench.link.trace_files import shipped

from saccade_testing.budget_contract import MANIFEST

OUTAGE = Trace.steps([(20, 400e3), (10, 0), (30, 400e3)], delay_s=0.025)


def test_packets_are_served_in_order_and_time_without_packets_is_lost() -> None:
    queue = Queue(Trace.steps([(10, 8000)], delay_s=0.1))
    assert queue.deliver(500, 5.0) == pytest.approx(5.6)
    assert queue.deliver(500, 5.0) == pytest.approx(6.1)
    assert queue.deliver(500, 7.0) == pytest.approx(7.6)
    assert queue.deliver(5000, 9.0) == pytest.approx(14.1)  # it begins anew at 10 s
    waiting = Queue(Trace.steps([(1, 8000), (50, 0)]))
    assert waiting.deliver(1, 20.0) == pytest.approx(51.001)


def test_the_links_are_the_shipped_traces_where_none_are_named(tmp_path: Path) -> None:
    links = bench.links_of([])
    assert tuple(links) == shipped()
    assert (links["satellite"].delay_s, links["steady"].delay_s) == (0.3, 0.025)
    (tmp_path / "a.up").write_text("0\n500\n500\n1000\n")  # Mahimahi's layout has no delay
    (recorded,) = bench.links_of([str(tmp_path)]).values()
    assert recorded.delay_s == 0.025


def test_nobody_beats_the_oracle_and_nobody_reaches_the_unreachable() -> None:
    clip = clip_for(
        OUTAGE, MANIFEST.points, seed="outage", fps=2.0, deadline_s=2.0, overhead_bytes=100
    )
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
    # Those of the last two seconds of the outage, which were held, came in time.
    assert robust.on_time >= oracle.on_time - 2 / 120
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


def test_a_link_on_which_nothing_goes_has_no_latency() -> None:
    score = bench.Score(0.0, 0.0, 1.0, 0.0, ())
    assert bench.summary([score])["p95_s"] is None
    assert bench.cells(bench.summary([score]))["latency p95, s"] == "-"


def test_what_is_no_link_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"error: no trace in {tmp_path}"):
        bench.main(["--traces", str(tmp_path)])
    with pytest.raises(SystemExit, match="nowhere: cannot be read as a trace"):
        bench.main(["--traces", str(tmp_path / "nowhere")])
    (tmp_path / "short").write_text("100\n")
    with pytest.raises(SystemExit, match=r"a trace of 0.1 s: no frame at 2 a second"):
        bench.main(["--traces", str(tmp_path)])
