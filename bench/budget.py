"""Budget policies over link traces, in a simulation.

    python -m bench.budget [--traces PATH ...] [--fps N] [--deadline S] [--each]

Frames of the demo bundle's operating points over an ideal first-in, first-out link: no TCP, no loss
and no other traffic, so this ranks policies and says nothing of a real connection: that is
`python -m bench.link`, which takes the same --traces. All of each trace; one that gives no delay
has 25 ms one way. A frame is on time if it reaches the cloud within the deadline after its capture;
left to the spool, it is not. Its utility is then its point's agreement, else 0. ``oracle`` knows
the trace; "out of reach" are frames that would be late at the smallest point, alone on the link.
Latency is of live frames.

The last line is JSON, with a record for each policy.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from bench.budget_simulation.simulate import Budget, Clip, Outcome, clip_for, reachable, simulate
from bench.common import table
from bench.link.oracle import Oracle
from bench.link.trace import Trace
from bench.link.trace_files import shipped, traces_of
from bench.link.trial.fates import quantiles
from saccade.bundle import Bundle
from saccade.errors import SaccadeError
from saccade.manifest import Manifest
from saccade_edge.budget import BudgetSettings, Controller

ORACLE = "oracle"
USUAL_DELAY_S = 0.025


@dataclass(frozen=True, slots=True)
class Arm:
    """A policy's row. ``point``: of the policy ``fixed``."""

    title: str
    policy: str
    point: int | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Of one policy on one link. Shares and ``utility`` are of all frames; ``latencies_s``: of the
    live ones.
    """

    on_time: float
    utility: float
    spooled: float
    bytes_per_frame: float
    latencies_s: tuple[float, ...]


def arms(manifest: Manifest) -> list[Arm]:
    own, last = manifest.selection.point or 0, len(manifest.points) - 1
    fixed = [Arm(f"fixed {n}", "fixed", n) for n in (0, own, last)]
    return [*fixed, *(Arm(name, name) for name in ("ewma", "awstream", "robust", ORACLE))]


def budget_for(arm: Arm, manifest: Manifest, trace: Trace, clip: Clip) -> Budget:
    if arm.policy == ORACLE:
        return Oracle(
            clip.points,
            trace.bytes_by,
            clip.wire_bytes,
            frames=len(clip.factors),
            interval_s=clip.interval_s,
            deadline_s=clip.deadline_s,
            delay_s=trace.delay_s,
        )
    settings = BudgetSettings(
        policy=arm.policy,
        point=arm.point,
        max_point="best",
        deadline_s=clip.deadline_s,
        interval_s=clip.interval_s,
        overhead_bytes=clip.overhead_bytes,
    )
    return Controller(manifest, settings)


def score(outcomes: Sequence[Outcome], clip: Clip) -> Score:
    sent = [(o, o.latency_s) for o in outcomes if o.latency_s is not None]
    on_time = [o for o, latency_s in sent if latency_s <= clip.deadline_s]
    return Score(
        on_time=len(on_time) / len(outcomes),
        utility=math.fsum(clip.points[o.number].agreement for o in on_time) / len(outcomes),
        spooled=1 - len(sent) / len(outcomes),
        bytes_per_frame=fmean(o.wire_bytes for o in outcomes),
        latencies_s=tuple(latency_s for o, latency_s in sent if o.live),
    )


def summary(scores: Sequence[Score]) -> dict[str, float | None]:
    """A mean over links, each as heavy as the others; latencies of all live frames together, None
    where there was none.
    """
    p50, p95, p99 = quantiles([latency_s for s in scores for latency_s in s.latencies_s])
    worst_p95 = max(
        (quantiles(s.latencies_s)[1] for s in scores if s.latencies_s), default=math.nan
    )
    return {
        "on_time": round(fmean(s.on_time for s in scores), 4),
        "on_time_worst": round(min(s.on_time for s in scores), 4),
        "utility": round(fmean(s.utility for s in scores), 4),
        "p50_s": _rounded(p50),
        "p95_s": _rounded(p95),
        "p99_s": _rounded(p99),
        "p95_worst_s": _rounded(worst_p95),
        "spooled": round(fmean(s.spooled for s in scores), 4),
        "bytes_per_frame": round(fmean(s.bytes_per_frame for s in scores), 1),
    }


def cells(record: Mapping[str, float | None]) -> dict[str, str]:
    return {
        "on time, %": f"{record['on_time']:.1%}"[:-1],
        "worst link, %": f"{record['on_time_worst']:.1%}"[:-1],
        "utility": f"{record['utility']:.3f}",
        "latency p50, s": _seconds(record["p50_s"]),
        "latency p95, s": _seconds(record["p95_s"]),
        "latency p99, s": _seconds(record["p99_s"]),
        "p95, worst link": _seconds(record["p95_worst_s"]),
        "spooled, %": f"{record['spooled']:.1%}"[:-1],
        "wire bytes a frame": f"{record['bytes_per_frame']:.0f}",
    }


def _rounded(seconds: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(seconds) else round(seconds, 3)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def show_each(results: dict[str, list[Score]], links: Sequence[str]) -> None:
    for at, link in enumerate(links):
        columns = {title: cells(summary([scores[at]])) for title, scores in results.items()}
        print(table(link, columns, width=12), end="\n\n")


def links_of(texts: Sequence[str]) -> dict[str, Trace]:
    """By name, as `bench.link.trace_files.traces_of` reads them, none without a delay. Raises
    ``ConfigError``.
    """
    return {
        name: replace(trace, delay_s=trace.delay_s or USUAL_DELAY_S)
        for name, trace in traces_of(texts).items()
    }


def run(options: argparse.Namespace) -> None:
    links = links_of(options.traces)
    manifest = Bundle.open(options.bundle).manifest
    overhead_bytes = BudgetSettings().overhead_bytes
    results: dict[str, list[Score]] = {arm.title: [] for arm in arms(manifest)}
    out_of_reach = []
    for name, trace in links.items():
        clip = clip_for(
            trace,
            manifest.points,
            seed=name,
            fps=options.fps,
            deadline_s=options.deadline,
            overhead_bytes=overhead_bytes,
        )
        out_of_reach.append(1 - fmean(reachable(trace, clip)))
        for arm in arms(manifest):
            outcomes = simulate(trace, clip, budget_for(arm, manifest, trace, clip))
            results[arm.title].append(score(outcomes, clip))
    if options.each:
        show_each(results, tuple(links))
    records = {title: summary(scores) for title, scores in results.items()}
    columns = {title: cells(record) for title, record in records.items()}
    print(table(f"{len(links)} links, simulated", columns, width=12))
    print(
        f"out of reach of any policy: {fmean(out_of_reach):.1%} of frames, "
        f"{max(out_of_reach):.1%} on the worst link"
    )
    ours, best = (fmean(s.utility for s in results[title]) for title in ("robust", ORACLE))
    record = {
        "links": len(links),
        "out_of_reach": round(fmean(out_of_reach), 4),
        "out_of_reach_worst": round(max(out_of_reach), 4),
        "robust_of_oracle": round(ours / best, 4) if best else None,
        "policies": records,
    }
    print(json.dumps(record))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="budget policies over link traces, simulated")
    parser.add_argument(
        "--traces", action="append", default=[], metavar="PATH",
        help=f"a folder of files, a file or a shipped trace; default: {', '.join(shipped())}",
    )  # fmt: skip
    parser.add_argument("--bundle", default="crossing", help="default %(default)s")
    parser.add_argument("--fps", type=float, default=2.0, help="default %(default)g")
    parser.add_argument("--deadline", type=float, default=2.0, help="s, default %(default)g")
    parser.add_argument("--each", action="store_true", help="a table for each link, too")
    try:
        run(parser.parse_args(arguments))
    except SaccadeError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
