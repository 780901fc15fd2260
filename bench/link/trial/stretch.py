"""A stretch of a trace: what a run of a minute can show of an hour's link."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.link.trace import Trace
from saccade.errors import ConfigError

GRID_S = 5.0  # stretches begin at a multiple of it
OUTAGE_S = 1.0  # shorter gaps are jitter
# A moment is dead where fewer bytes than any frame has pass within the usual deadline.
STEP_S, DEAD_S, DEAD_BYTES = 0.5, 2.0, 300
SHARE = 0.1
# Before the first frame, at this rate: time to start two processes and to connect them.
LEAD_S = 8.0
LEAD_BPS = 1e6
# After the last frame: until its deadline has passed, and a little.
TAIL_S = 3.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """``trace``: LEAD_S of LEAD_BPS, then ``seconds`` of the trace ``name`` from its second
    ``from_s``, then the trace's next seconds.
    """

    name: str
    trace: Trace
    from_s: float
    seconds: float

    def outages(self) -> list[tuple[float, float]]:
        """(begin, end) of each gap in seconds from the first frame, as far as it lies between
        that and the last.
        """
        found = [(max(b - LEAD_S, 0.0), min(e - LEAD_S, self.seconds)) for b, e in gaps(self.trace)]
        return [(begin, end) for begin, end in found if begin < end]

    def within_reach(self, frames: int, interval_s: float, smallest: int, within_s: float) -> int:
        """How many frames of ``smallest`` bytes on the wire could cross the link within so many
        seconds, each alone on it: no policy gets more of them through in time.
        """
        trace = self.trace
        begins = (LEAD_S + frame * interval_s for frame in range(frames))
        return sum(trace.bytes_by(b + within_s) - trace.bytes_by(b) >= smallest for b in begins)


def stretch_of(name: str, trace: Trace, seconds: float) -> Stretch:
    """``seconds`` that are like the whole: of all stretches on the grid those whose share of dead
    moments is the trace's within SHARE; of those the ones with a whole outage inside, where there
    are such; of those the one whose share is nearest, to a hundredth, then whose mean rate is
    nearest, then the first. The whole trace where ``seconds`` is 0 or more than it has.
    """
    if seconds < 0:
        raise ConfigError(f"a stretch of {seconds:g} s: 0 for all, or more")
    period_s = trace.period_s
    if not seconds or seconds >= period_s:
        # A constant rate goes on for as long as one likes.
        length = seconds if seconds and trace.longest_gap_s() == 0 else period_s
        return Stretch(name, cut(trace, 0.0, length + TAIL_S), 0.0, length)
    spans, dead = gaps(trace), _dead(trace)
    starts = np.arange(0.0, period_s - seconds + 1e-9, GRID_S)

    def unlike(start: float) -> tuple[int, bool, float, float]:
        end = start + seconds
        inside = any(start < b and e < end for b, e in spans)
        share = dead[round(start / STEP_S) : round(end / STEP_S)].mean() - dead.mean()
        carried = trace.bytes_by(end) - trace.bytes_by(start)
        rate = abs(carried * 8 / seconds - trace.mean_bps)
        off = abs(float(share))
        return (math.floor(off / SHARE), bool(spans) and not inside, round(off, 2), rate)

    best = float(min(starts, key=lambda start: (*unlike(float(start)), start)))
    return Stretch(name, cut(trace, best, seconds + TAIL_S), best, seconds)


def _dead(trace: Trace) -> npt.NDArray[np.bool_]:
    """For each STEP_S of one period, whether next to nothing passes in the DEAD_S from then on."""
    moments = np.arange(0.0, trace.period_s, STEP_S)
    return np.array(
        [trace.bytes_by(t + DEAD_S) - trace.bytes_by(t) < DEAD_BYTES for t in moments.tolist()]
    )


def cut(trace: Trace, from_s: float, seconds: float) -> Trace:
    """The lead, then a part of a trace that repeats; the same delay."""
    inner = np.array([t for t in _corners(trace, from_s + seconds) if from_s < t], np.float64)
    times = np.concatenate([[from_s], inner, [from_s + seconds]])
    through = np.array([trace.bytes_by(t) for t in times]) - trace.bytes_by(from_s)
    lead = LEAD_S * LEAD_BPS / 8
    return Trace(
        np.concatenate([[0.0], times - from_s + LEAD_S]),
        np.concatenate([[0.0], np.maximum.accumulate(through) + lead]),
        delay_s=trace.delay_s,
    )


def _corners(trace: Trace, until_s: float) -> Iterator[float]:
    """Where the rate changes, before ``until_s``."""
    rounds = 0
    while rounds * trace.period_s < until_s:
        for time_s in trace.times_s[1:]:
            if (at := rounds * trace.period_s + float(time_s)) < until_s - 1e-9:
                yield at
        rounds += 1


def gaps(trace: Trace) -> list[tuple[float, float]]:
    """(begin, end) of every time of OUTAGE_S or more in which nothing passes, within one period."""
    found: list[tuple[float, float]] = []
    still = np.diff(trace.through) <= 0
    for at in np.flatnonzero(still):
        begin, end = float(trace.times_s[at]), float(trace.times_s[at + 1])
        if found and abs(found[-1][1] - begin) < 1e-9:
            found[-1] = (found[-1][0], end)
        else:
            found.append((begin, end))
    return [(begin, end) for begin, end in found if end - begin >= OUTAGE_S]
