"""What became of every captured frame, and what that comes to.

On time is a frame whose answer's first token reached the edge within the deadline after its
capture. Of all that were captured: what the edge never took, what waits in the spool and what was
lost is not on time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

import numpy as np

from saccade.errors import RemoteError

# on time    answered within the deadline
# late       answered after it, sent as live
# spooled    answered after it, by way of the spool
# waiting    not answered: in the spool at the end
# refused    by the cloud
# not taken  the edge was busy, and a newer frame replaced it
# lost       dropped by the spool, and counted there
Fate = Literal["on time", "late", "spooled", "waiting", "refused", "not taken", "lost"]
FATES: tuple[Fate, ...] = (
    "on time", "late", "spooled", "waiting", "refused", "not taken", "lost",
)  # fmt: skip


@dataclass(slots=True)
class FrameFate:
    """A captured frame, as far as the edge told. Times in seconds from the first capture.

    ``live``: its budget sent it at once; ``point``: index of its operating point.
    """

    captured_s: float
    sequence: int = 0
    taken: bool = False
    live: bool = False
    point: int | None = None
    packet_bytes: int = 0
    first_token_s: float = math.inf
    refused: bool = False
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def latency_s(self) -> float:
        """From capture to the first token of the answer at the edge; infinite without."""
        return self.first_token_s - self.captured_s


@dataclass(frozen=True, slots=True)
class Trial:
    """One edge over one link. ``frames``: in the order of capture; ``waiting`` and ``lost``: what
    the spool says at the end; ``wire_bytes``: up, headers included; ``within_reach``: frames that
    the link could have carried in time; ``outages``: (begin, end), seconds from the first capture.
    """

    arm: str
    link: str
    deadline_s: float
    frames: tuple[FrameFate, ...]
    waiting: int
    lost: int
    wire_bytes: int
    within_reach: int
    outages: tuple[tuple[float, float], ...]
    qualities: tuple[float, ...]

    def fates(self) -> dict[Fate, int]:
        """Raises ``RemoteError`` where a frame's fate is unknown: something lost it silently."""
        told = Counter(self._fate(frame) for frame in self.frames)
        open_frames = told.pop("waiting", 0)
        lost = min(self.lost, max(open_frames - self.waiting, 0))
        told.update({"waiting": open_frames - lost, "lost": lost})
        if told["waiting"] > self.waiting:
            raise RemoteError(
                f"{self.arm} over {self.link}: {open_frames} frames were not answered, but "
                f"{self.waiting} wait in the spool and {self.lost} were counted as lost"
            )
        fates: dict[Fate, int] = {fate: told.get(fate, 0) for fate in FATES}
        if sum(fates.values()) != len(self.frames):
            raise RemoteError(f"{len(self.frames)} frames were captured, fates: {fates}")
        return fates

    def _fate(self, frame: FrameFate) -> Fate:
        if not frame.taken:
            return "not taken"
        if frame.refused:
            return "refused"
        if frame.latency_s <= self.deadline_s:
            return "on time"
        if math.isinf(frame.first_token_s):
            return "waiting"
        return "late" if frame.live else "spooled"

    @property
    def on_time(self) -> float:
        """Share of all captured frames."""
        return self.fates()["on time"] / len(self.frames)

    @property
    def utility(self) -> float:
        """Mean over all captured frames: the quality of the point used if on time, else 0."""
        return math.fsum(self._worth(frame) for frame in self.frames) / len(self.frames)

    def _worth(self, frame: FrameFate) -> float:
        on_time = self._fate(frame) == "on time" and frame.point is not None
        return self.qualities[frame.point] if on_time and frame.point is not None else 0.0

    def live_latencies(self) -> list[float]:
        """Of all frames that were sent as live, infinite where no answer came."""
        return [f.latency_s for f in self.frames if f.taken and f.live and not f.refused]

    def recoveries(self) -> list[float]:
        """For each outage that ends before the last frame, from its end to the next answer that
        is on time; infinite where another outage, or the end, came before one.
        """
        last = self.frames[-1].captured_s
        bounds = [*(begin for begin, _ in self.outages[1:]), last + self.deadline_s]
        answered = sorted(f.first_token_s for f in self.frames if self._fate(f) == "on time")
        found = []
        for (_, end), bound in zip(self.outages, bounds, strict=bool(self.outages)):
            if end > last:
                continue
            after = next((s for s in answered if end <= s <= bound), math.inf)
            found.append(after - end)
        return found


# Stages in which nothing is computed.
_WAITING = ("link", "receive", "queue")


@dataclass(frozen=True, slots=True)
class Score:
    """An arm over all links. Shares are means over links, latencies of all live frames together,
    ``within_reach`` a share of captured frames, like ``on_time``.
    """

    on_time: float
    on_time_worst: float
    within_reach: float
    within_reach_worst: float
    utility: float
    p50_s: float
    p95_s: float
    p99_s: float
    model_s: float
    bytes_a_frame: float
    waiting: int
    recovery_s: float
    recovery_worst_s: float
    fates: Mapping[Fate, int]


def score(trials: Sequence[Trial]) -> Score:
    """Raises ``RemoteError`` where a frame's fate is unknown."""
    fates: Counter[Fate] = Counter()
    for trial in trials:
        fates.update(trial.fates())
    p50, p95, p99 = quantiles([s for trial in trials for s in trial.live_latencies()])
    recoveries = [s for trial in trials for s in trial.recoveries()]
    reach = [trial.within_reach / len(trial.frames) for trial in trials]
    return Score(
        on_time=fmean(trial.on_time for trial in trials),
        on_time_worst=min(trial.on_time for trial in trials),
        within_reach=fmean(reach),
        within_reach_worst=min(reach),
        utility=fmean(trial.utility for trial in trials),
        p50_s=p50,
        p95_s=p95,
        p99_s=p99,
        model_s=model_s(trials),
        bytes_a_frame=fmean(trial.wire_bytes / len(trial.frames) for trial in trials),
        waiting=fates["waiting"],
        recovery_s=quantiles(recoveries)[0],
        recovery_worst_s=max(recoveries, default=math.nan),
        fates={fate: fates[fate] for fate in FATES},
    )


def model_s(trials: Sequence[Trial]) -> float:
    """Median of what edge and cloud compute for a frame, codecs included, waiting left out."""
    spent = [
        sum(ms for stage, ms in frame.stages_ms.items() if stage not in _WAITING) / 1e3
        for trial in trials
        for frame in trial.frames
        if frame.stages_ms
    ]
    return float(np.median(spent)) if spent else math.nan


def quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    """(50 %, 95 %, 99 %), each one of the values, the larger neighbour; NaN without values."""
    if not values:
        return math.nan, math.nan, math.nan
    p50, p95, p99 = np.percentile(values, [50, 95, 99], method="higher")
    return float(p50), float(p95), float(p99)


def crossover(ours: Mapping[float, float], theirs: Mapping[float, float]) -> float | None:
    """The lowest rate, Mbit/s, at which ``theirs`` is faster; None where it never is. Latencies in
    seconds by rate.
    """
    return min((rate for rate, s in theirs.items() if s < ours[rate]), default=None)
