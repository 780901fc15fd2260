"""What the benchmarks of load and of endurance make of their readings."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from bench import load, soak, streams
from bench.common import percentile
from bench.simulated.cameras import Fate
from bench.simulated.edges import Heard, share
from bench.slope import slope
from bench.soak import Findings, Sample, Soaked, Tally, Watch


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(1, 101)]
    random.Random(1).shuffle(values)
    assert [percentile(values, p) for p in (1, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([7.0], 99) == 7
    assert percentile([], 99) == 0


def test_what_never_came_is_later_than_anything() -> None:
    assert percentile([1.0] * 99 + [math.inf], 99) == 1
    assert percentile([1.0] * 98 + [math.inf] * 2, 99) == math.inf


def test_a_slope_is_the_line_s_own() -> None:
    times = [0.0, 1.0, 2.5, 4.0, 7.0]
    assert slope(times, [3 + 2 * t for t in times]) == pytest.approx(2)
    assert slope(times, [5.0] * 5) == 0
    assert slope([1.0], [1.0]) == 0
    assert slope([1.0, 1.0], [1.0, 2.0]) == 0


def test_a_quarter_of_wild_readings_hardly_bends_a_slope() -> None:
    dice = random.Random(2)
    times = [float(t) for t in range(100)]
    values = [2 * t + dice.gauss(0, 1) for t in times]
    for wild in dice.sample(range(100), 25):
        values[wild] += 1e4
    assert slope(times, values) == pytest.approx(2, abs=0.15)


def test_every_edge_has_one_process_and_no_process_is_without() -> None:
    for edges in (1, 3, 10, 1000):
        parts = share(edges, 4)
        assert [n for part in parts for n in part] == list(range(edges))
        assert all(parts)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_frame_is_on_time_if_all_its_answers_came_within_two_seconds() -> None:
    fates = [
        Fate(edge=0, captured_s=1.0, live=True, answered_s=[1.5, 2.5]),  # counts
        Fate(edge=0, captured_s=2.0, live=True, answered_s=[2.5, 4.5]),  # late
        Fate(edge=1, captured_s=2.0, live=True, answered_s=[2.5]),  # one answer did not come
        Fate(edge=1, captured_s=2.5, live=False, answered_s=[]),  # to the spool
        Fate(edge=0, captured_s=0.5, live=True, answered_s=[0.6, 0.7]),  # before
        Fate(edge=0, captured_s=3.0, live=True, answered_s=[3.1, 3.2]),  # after
    ]
    found = load.outcome(fates, asked=2, begin_s=1.0, end_s=3.0)
    assert (found.on_time, found.live, found.fairness) == (0.25, 0.75, 0)
    assert found.answers_per_s == 2.0  # those of 1.5, 2.5, 2.5 and 2.5
    assert (found.p50_s, found.p95_s) == (2.5, math.inf)
    assert found.live_unanswered == pytest.approx(1 / 3)


def test_a_step_counts_the_missing_as_never_acknowledged() -> None:
    whole = Heard(offered=200, late_ms=[1.0] * 200, ack_ms=[3.0] * 200)
    step = streams.step_of(100.0, 2.0, whole, cpu_s=0.03, sent=300.0)
    assert (step.acked_hz, step.ack_p50_ms, step.ack_p99_ms) == (100, 3, 3)
    assert step.cpu_us == pytest.approx(100)
    assert step.sustained
    lossy = replace(whole, ack_ms=[3.0] * 190)
    assert not streams.step_of(100.0, 2.0, lossy, cpu_s=0.03, sent=300.0).sustained


def trial(*acks_p99_ms: float, idle_kb: float = 40.0) -> streams.Trial:
    steps = [
        streams.Step(rate, rate, ack / 2, ack, 0.0, 100.0)
        for rate, ack in zip(streams.RATES_HZ, acks_p99_ms, strict=False)
    ]
    return streams.Trial(idle_kb, idle_kb, idle_kb, tuple(steps))


def test_the_figures_are_those_of_the_highest_rate_that_held() -> None:
    trials = [trial(5, 20, 900), trial(6, 30, 800, idle_kb=44), trial(5, 260, idle_kb=42)]
    assert streams.best(trials) == streams.Figures(1000, 30, 42)
    assert streams.best([trial(300)]).packets_per_s == 0


def soaked(mb_h: float = 0.0, minutes: float = 3.0, more_fds: int = 0) -> Soaked:
    """A cloud that grows, and opens files in the end."""
    seconds = int(minutes * 60)
    samples = [
        Sample(
            at_s=float(at),
            edge_mb=200 + 3 * (at % 7),
            cloud_mb=100 + mb_h * at / 3600,
            edge_fds=18,
            cloud_fds=17 + (more_fds if at > seconds * 0.8 else 0),
            spool_bytes=at,
            answers=at * 6,
        )
        for at in range(seconds)
    ]
    return Soaked(tuple(samples), (45.0,), Tally(), seconds / 3, seconds / 3)


def test_a_soak_tells_growth_open_files_and_answers_of_the_time_after_the_warm_up() -> None:
    found = soak.findings(soaked(mb_h=30, more_fds=2))
    assert found == Findings(0.0, 30.0, 18, 19, 179, 6.0)


def test_a_soak_fails_for_growth_that_would_matter() -> None:
    assert said(soaked()) == []
    assert said(soaked(mb_h=9, minutes=60)) == []
    assert said(soaked(mb_h=100)) == [], "3.3 MB in two minutes: an allocator's, perhaps"
    assert "the cloud grows by 15.0 MB an hour" in said(soaked(mb_h=15, minutes=60))[0]
    assert "the cloud grows by 300.0 MB an hour" in said(soaked(mb_h=300))[0]


def test_a_soak_fails_for_files_left_open_refusals_silence_and_a_spool_that_grows() -> None:
    assert said(soaked(more_fds=5)) == ["the cloud has 22 files open, 17 after the warm-up"]
    run = soaked()
    silent = replace(run, samples=tuple(replace(s, answers=9) for s in run.samples))
    assert said(silent) == ["no answers came in the last third"]
    refused = replace(run, tally=Tally(refused=["too late", "too many"]))
    assert said(refused) == ["2 refused, the first: too late"]
    heavy = replace(run, samples=tuple(replace(s, spool_bytes=10**8) for s in run.samples))
    assert said(heavy) == ["the spool has 100,000,000 bytes, limit 64,000,000"]


class Scripted(Watch):
    """Sees what it is given, one run a time."""

    def __init__(self, *runs: Soaked) -> None:
        self.runs, self.from_s, self.end_s = list(runs), 60.0, 180.0

    def go_on(self) -> Soaked:
        return self.runs.pop(0)


def test_a_soak_goes_on_while_memory_seems_to_grow_and_fails_if_it_still_does() -> None:
    grows, rests = soaked(mb_h=400), soaked()
    jumped = Scripted(grows, rests, grows)
    assert said(soak.soak(jumped, again=2)) == []
    assert (jumped.from_s, jumped.end_s) == (180, 300)
    leaks = Scripted(grows, grows, grows, rests)
    assert "the cloud grows by 400.0 MB an hour" in said(soak.soak(leaks, again=2))[0]
    assert leaks.runs == [rests], "no longer than it was told to"


def test_a_prolonged_soak_counts_growth_of_its_end_and_files_since_the_warm_up() -> None:
    run = replace(soaked(mb_h=400, more_fds=5), from_s=170.0)
    assert said(run) == ["the cloud has 22 files open, 17 after the warm-up"]


def said(run: Soaked) -> list[str]:
    return soak.faults(run, soak.findings(run))
