"""The link benchmark's arithmetic: stretches of traces, fates of frames, scores."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from bench.link.trace import Trace
from bench.link.trace_files import shipped, trace_of
from bench.link.trial.account import Account
from bench.link.trial.fates import FATES, FrameFate, Trial, crossover, quantiles, score
from bench.link.trial.report import avif_crossover, summary
from bench.link.trial.stretch import LEAD_BPS, LEAD_S, TAIL_S, cut, gaps, stretch_of

from saccade.errors import ConfigError, RemoteError

OUTAGES = Trace.steps([(10, 1e6), (5, 0.0), (10, 2e6), (0.5, 0.0), (4.5, 1e6)], delay_s=0.04)


def frame(captured_s: float, latency_s: float = math.inf, *, live: bool = True) -> FrameFate:
    return FrameFate(
        captured_s,
        sequence=1,
        taken=True,
        live=live,
        point=1,
        packet_bytes=100,
        first_token_s=captured_s + latency_s,
    )


def trial(*frames: FrameFate, waiting: int = 0, lost: int = 0) -> Trial:
    return Trial(
        arm="robust",
        link="a link",
        deadline_s=2.0,
        frames=frames,
        waiting=waiting,
        lost=lost,
        wire_bytes=1000,
        within_reach=len(frames),
        outages=(),
        qualities=(0.5, 0.8),
    )


def test_a_cut_carries_what_the_trace_carries() -> None:
    part = cut(OUTAGES, 8.0, 20.0)
    lead = LEAD_S * LEAD_BPS / 8
    assert part.delay_s == OUTAGES.delay_s
    assert part.bytes_by(LEAD_S) == pytest.approx(lead)
    for seconds in np.linspace(0, 19.9, 50):
        expected = OUTAGES.bytes_by(8.0 + seconds) - OUTAGES.bytes_by(8.0)
        assert part.bytes_by(LEAD_S + seconds) == pytest.approx(lead + expected)


def test_a_cut_goes_on_over_the_trace_s_end() -> None:
    part = cut(OUTAGES, 25.0, 20.0)
    expected = OUTAGES.bytes_by(45.0) - OUTAGES.bytes_by(25.0)
    assert part.bytes_by(LEAD_S + 20.0) - part.bytes_by(LEAD_S) == pytest.approx(expected)


def test_gaps_are_outages_of_a_second_or_more() -> None:
    assert gaps(OUTAGES) == [(10.0, 15.0)]


def test_a_stretch_holds_an_outage_and_is_like_the_whole() -> None:
    long = Trace.steps([(100, 1e6), (10, 0.0), (90, 1e6)])
    chosen = stretch_of("long", long, 60)
    assert chosen.outages() == [(100 - chosen.from_s, 110 - chosen.from_s)]
    assert chosen.trace.period_s == pytest.approx(LEAD_S + 60 + TAIL_S)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_trace_gives_the_same_stretch_each_time(name: str) -> None:
    first, second = (stretch_of(name, trace_of(name), 60) for _ in range(2))
    assert first.from_s == second.from_s
    assert first.seconds == 60


def test_all_of_a_trace_on_request() -> None:
    whole = stretch_of("whole", OUTAGES, 0)
    assert (whole.from_s, whole.seconds) == (0, OUTAGES.period_s)
    assert stretch_of("rate", Trace.constant(1e6), 20).seconds == 20
    with pytest.raises(ConfigError, match="-1 s"):
        stretch_of("whole", OUTAGES, -1)


def test_what_is_out_of_reach_is_what_an_outage_takes() -> None:
    whole = stretch_of("whole", OUTAGES, 0)
    frames = round(whole.seconds / 0.5)
    # From 10 s on nothing passes until 15 s: captured in 10.0 ... 13.0, 2 s are not enough.
    assert frames - whole.within_reach(frames, 0.5, 300, 2.0) == 7


def test_every_frame_has_one_fate() -> None:
    refused = frame(0.0)
    refused.refused = True
    told = trial(
        frame(0.0, 0.2),
        frame(0.5, 2.0),
        frame(1.0, 2.1),
        frame(1.5, 9.0, live=False),
        frame(2.0),
        frame(2.5),
        refused,
        FrameFate(3.0),
        waiting=1,
        lost=1,
    ).fates()
    assert told == {
        "on time": 2, "late": 1, "spooled": 1, "waiting": 1, "refused": 1, "not taken": 1,
        "lost": 1,
    }  # fmt: skip
    assert tuple(told) == FATES


def test_a_spooled_frame_can_be_on_time() -> None:
    assert trial(frame(0.0, 1.9, live=False)).fates()["on time"] == 1


def test_a_frame_that_nobody_has_is_an_error() -> None:
    with pytest.raises(RemoteError, match="2 frames were not answered, but 1 wait"):
        trial(frame(0.0), frame(0.5), waiting=1).fates()


def test_a_row_that_outlives_its_answer_hides_no_lost_frame() -> None:
    told = trial(frame(0.0, 0.1), frame(0.5), waiting=2).fates()
    assert (told["on time"], told["waiting"]) == (1, 1)


def test_utility_is_the_point_s_quality_where_on_time() -> None:
    assert trial(frame(0.0, 0.1), frame(0.5, 3.0)).utility == pytest.approx(0.4)
    small = frame(0.0, 0.1)
    small.point = 0
    assert trial(small, FrameFate(0.5)).utility == pytest.approx(0.25)


def test_live_frames_without_an_answer_are_in_the_latency() -> None:
    told = trial(frame(0.0, 0.1), frame(0.5), frame(1.0, 7.0, live=False), waiting=1)
    assert told.live_latencies() == [pytest.approx(0.1), math.inf]
    assert math.isinf(score([told]).p95_s)


def test_recovery_is_from_an_outage_s_end_to_the_next_answer_on_time() -> None:
    frames = [frame(0.0, 0.1), frame(3.0, 9.0), frame(11.0, 0.4), frame(20.0, 0.1)]
    told = replace(trial(*frames), outages=((2.0, 10.0), (12.0, 15.0), (16.0, 18.0)))
    assert told.recoveries() == [pytest.approx(1.4), math.inf, pytest.approx(2.1)]


def test_quantiles_are_values_that_occurred() -> None:
    assert quantiles([1.0, 2.0, math.inf]) == (2.0, math.inf, math.inf)
    assert all(math.isnan(value) for value in quantiles([]))


def test_the_crossover_is_the_lowest_rate_at_which_they_are_faster() -> None:
    ours = {0.1: 0.2, 1.0: 0.2, 20.0: 0.2}
    assert crossover(ours, {0.1: 0.9, 1.0: 0.15, 20.0: 0.1}) == 1.0
    assert crossover(ours, {0.1: 0.9, 1.0: 0.3, 20.0: 0.2}) is None


def test_the_last_line_is_of_the_default_policy() -> None:
    ours = trial(frame(0.0, 0.1), frame(0.5, 0.3), frame(1.0, 5.0))
    oracle = replace(trial(frame(0.0, 0.1), frame(0.5, 0.3), frame(1.0, 1.0)), arm="oracle")
    rival = replace(trial(frame(0.0, 0.05)), arm="AVIF")
    record = summary([ours, oracle], {20.0: [trial(frame(0.0, 0.1)), rival]})
    assert record == {
        "on_time_mean": 0.6667,
        "on_time_worst": 0.6667,
        "live_p95_s": 5.0,
        "oracle_share": 0.6667,
        "avif_crossover_mbit": 20.0,
    }
    assert avif_crossover({}) is None


def told(event: str, **fields: object) -> dict[str, object]:
    """A record of the edge, half a second after the first capture unless it says when."""
    return {"event": event, "at_ns": 100_500_000_000, **fields}


def sent(sequence: int, captured_s: float) -> dict[str, object]:
    captured_ns = round((100 + captured_s) * 1e9)
    fields = {"sequence": sequence, "live": True, "point": 1, "packet_bytes": 90}
    return told("FrameTaken", captured_ns=captured_ns, **fields)


def test_an_account_knows_a_frame_by_its_capture_and_an_answer_by_its_packet() -> None:
    account = Account(4, 0.5, begin_unix_s=100.0)
    for record in (
        told("Connected"),
        sent(7, 0.0),
        sent(8, 1.0),
        sent(9, 1.5),
        told("FirstToken", sequence=7),
        told("FirstToken", sequence=7, at_ns=103_000_000_000),
        told("FrameAnswered", sequence=7, stages_ms={"prefill": 3.0}),
        told("Refused", sequence=9),
        told("Summary", spool={"packets": 1, "lost": 2}),
        told("Source", replaced=1),
    ):
        account.hear(record)
    assert account.failure() == ""
    first, missed, second, third = account.frames
    assert (first.sequence, first.packet_bytes) == (7, 90)
    assert first.latency_s == pytest.approx(0.5)
    assert first.stages_ms == {"prefill": 3.0}
    assert not missed.taken
    assert (second.captured_s, second.refused, second.latency_s) == (1.0, False, math.inf)
    assert third.refused
    assert (account.waiting, account.lost, account.replaced) == (1, 2, 1)


def test_an_account_misses_frames_that_the_source_did_not_replace() -> None:
    account = Account(3, 0.5, begin_unix_s=100.0)
    account.hear(sent(1, 0.0))
    account.hear(told("Source", replaced=1))
    assert account.failure() == "2 frames were never heard of, the source replaced 1"
