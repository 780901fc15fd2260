"""What a cloud makes of more questions than its engine can answer, with and without a bound.

    python -m bench.load [--rounds 2] [--demands 1,2,4] [--seconds 4]

`saccade cloud serve` with the shipped bundle and one engine thread. First its capacity: answers a
second to recordings, which always have questions open. Then so many cameras that they ask once,
twice and four times as much, live, each with a spool of its own: all of an edge but its encoder
(see `bench.simulated.cameras`). Every frame is another, and each edge asks several questions about
it.

Two arms in every round: a cloud that bounds nobody (`--answer-wait 0`, the baseline), and one with
`--answer-wait 1`. A frame is on time if all of its answers came within 2 s of its capture; frames
that go to the spool are not. Of all frames captured, at most 1 / demand can be: "possible". Frames
of the first seconds do not count, and the load goes on until the last counted frame is late. The
recordings are tried again with either arm: they can wait, and should lose nothing.

Figures are medians over rounds. The last line is JSON: shares of frames on time at twice the
capacity, with the bound, without, and possible; answers a second there, of the baseline's; answers
a second of recordings, of those without a bound.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from statistics import median

from bench.common import percentile, table
from bench.process import state_folder
from bench.simulated.cameras import Fate, Shift, live
from bench.simulated.edges import share
from bench.simulated.packets import distinct, packets_of_clip
from saccade.bundle import Bundle
from saccade_demo.processes import address_of, running
from saccade_edge.plan import PipelineSettings

FPS = 2.0
DEADLINE_S = 2.0
QUESTIONS = (
    "how many vehicles are there ?",
    "what colour is vehicle 1 ?",
    "is there a bus ?",
    "what is vehicle 1 ?",
    "is there a red car ?",
    "how many cars are there ?",
    "is there a truck ?",
    "what colour is vehicle 2 ?",
)
RECORDINGS = 6  # so many keep 192 questions open: more than wait in the engine at a time
LOOKS = 24
PACKETS = 1500
AT = 2.0  # the demand of the last line


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one trial. Shares of frames captured; times from capture to the last answer, of those
    that were sent live, infinite for what never came; ``fairness``: the least share of frames on
    time of an edge, of the greatest.
    """

    on_time: float
    answers_per_s: float
    p50_s: float
    p95_s: float
    live: float
    live_unanswered: float
    fairness: float


def outcome(fates: Sequence[Fate], asked: int, begin_s: float, end_s: float) -> Outcome:
    """Of frames captured, and of answers that came, from ``begin_s`` to ``end_s``."""
    counted = [fate for fate in fates if begin_s <= fate.captured_s < end_s]
    took_s = [_took_s(fate, asked) for fate in counted]
    live_s = [took for took, fate in zip(took_s, counted, strict=True) if fate.live]
    answers = sum(begin_s <= at < end_s for fate in fates for at in fate.answered_s)
    by_edge: dict[int, list[bool]] = {fate.edge: [] for fate in counted}
    for took, fate in zip(took_s, counted, strict=True):
        by_edge[fate.edge].append(took <= DEADLINE_S)
    shares = [_share(on_time) for on_time in by_edge.values()]
    return Outcome(
        on_time=_share([took <= DEADLINE_S for took in took_s]),
        answers_per_s=answers / (end_s - begin_s),
        p50_s=percentile(live_s, 50),
        p95_s=percentile(live_s, 95),
        live=_share([fate.live for fate in counted]),
        live_unanswered=_share([math.isinf(took) for took in live_s]),
        fairness=min(shares) / max(shares) if any(shares) else 0.0,
    )


def _took_s(fate: Fate, asked: int) -> float:
    return max(fate.answered_s) - fate.captured_s if len(fate.answered_s) >= asked else math.inf


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """Medians, figure by figure."""
    return Outcome(
        *(median(getattr(each, field.name) for each in outcomes) for field in fields(Outcome))
    )


class Trials:
    """One cloud and its edges at a time. ``pool``: of as many processes as edges live in."""

    def __init__(
        self, bundle: Bundle, pool: ProcessPoolExecutor, options: argparse.Namespace
    ) -> None:
        self._options = options
        self._pool = pool
        self._bundle = str(bundle.folder)
        clip = packets_of_clip(bundle, LOOKS, PipelineSettings())
        self._packets = tuple(distinct(bundle, clip, PACKETS))

    def try_out(self, wait_s: float, edges: int, fps: float) -> Outcome:
        """``fps`` 0: recordings."""
        options = self._options
        ends_s = options.warm + options.seconds
        serve = (
            *("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={self._bundle}"),
            *("--threads=1", "--drain=0", "--store=memory:", f"--answer-wait={wait_s:g}"),
        )
        with state_folder(), running("cloud", serve) as cloud:
            shift = partial(
                Shift,
                cloud=address_of(cloud),
                bundle=self._bundle,
                packets=self._packets,
                questions=QUESTIONS,
                asked=options.questions,
                fps=fps,
                seconds=ends_s,
            )
            shifts = [shift(numbers=part) for part in share(edges, options.processes)]
            parts = list(self._pool.map(live, shifts))
        fates = [fate for part in parts for fate in part]
        return outcome(fates, options.questions, options.warm, ends_s)


@contextmanager
def _trials(options: argparse.Namespace) -> Iterator[Trials]:
    # gRPC's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, context) as pool:
        yield Trials(Bundle.open(options.bundle), pool, options)


def cells(found: Outcome, possible: float) -> dict[str, str]:
    return {
        "on time, % of captured": f"{found.on_time:.1%}",
        "possible": f"{possible:.1%}",
        "answers a second": f"{found.answers_per_s:.1f}",
        "live: p50 / p95 s": f"{found.p50_s:.2f} / {found.p95_s:.2f}",
        "live: never answered": f"{found.live_unanswered:.1%}",
        "sent live": f"{found.live:.1%}",
        "least / greatest edge": f"{found.fairness:.2f}",
    }


def run(options: argparse.Namespace) -> dict[str, float]:
    """Print the tables; what the last line says."""
    arms = {"no bound": 0.0, f"{options.wait:g} s": options.wait}
    cameras: dict[tuple[float, str], list[Outcome]] = {}
    recordings: dict[str, list[Outcome]] = {}
    with _trials(options) as trials:
        capacity = trials.try_out(0, RECORDINGS, 0).answers_per_s
        asks = FPS * options.questions
        edges = {demand: max(round(demand * capacity / asks), 1) for demand in options.demands}
        print(f"capacity: {capacity:.1f} answers a second; cameras: {edges}", flush=True)
        for number in range(1, options.rounds + 1):
            for demand in options.demands:
                for arm, wait_s in arms.items():
                    found = trials.try_out(wait_s, edges[demand], FPS)
                    cameras.setdefault((demand, arm), []).append(found)
                    _tell(f"round {number}, {demand:g} times, {arm}", found)
            for arm, wait_s in arms.items():
                found = trials.try_out(wait_s, RECORDINGS, 0)
                recordings.setdefault(arm, []).append(found)
                _tell(f"round {number}, recordings, {arm}", found)
    possible = {demand: min(capacity / (edges[demand] * asks), 1.0) for demand in options.demands}
    for demand in options.demands:
        columns = {arm: cells(middle(cameras[demand, arm]), possible[demand]) for arm in arms}
        print("", table(f"{demand:g} times, {edges[demand]} cameras", columns), sep="\n")
    without, bounded = (middle(recordings[arm]).answers_per_s for arm in arms)
    print(f"\n{RECORDINGS} recordings: {without:.1f} answers a second, bounded {bounded:.1f}")
    baseline, found = (middle(cameras[AT, arm]) for arm in arms)
    return {
        "on_time_2x": found.on_time,
        "baseline_2x": baseline.on_time,
        "possible_2x": possible[AT],
        "answers_share_2x": found.answers_per_s / baseline.answers_per_s,
        "recording_share": bounded / without,
    }


def _tell(what: str, found: Outcome) -> None:
    print(
        f"{what}: {found.on_time:.1%} on time, {found.answers_per_s:.1f} answers a second, "
        f"{found.live:.1%} sent live, p50 {found.p50_s:.2f} s",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--demands", type=_demands, default="1,2,4", metavar="N,...")
    parser.add_argument("--questions", type=int, default=6, help="about each frame")
    parser.add_argument("--wait", type=float, default=1.0, help="--answer-wait of the bounded arm")
    parser.add_argument("--warm", type=float, default=6.0, help="seconds that do not count")
    parser.add_argument("--seconds", type=float, default=4.0, help="that count, of a trial")
    parser.add_argument("--processes", type=int, default=2, help="that the edges live in")
    found = run(parser.parse_args(arguments))
    print(json.dumps({name: round(share, 4) for name, share in found.items()}))


def _demands(text: str) -> list[float]:
    """Twice is always among them: the last line is of it."""
    return sorted({float(part) for part in text.split(",")} | {AT})


if __name__ == "__main__":
    main()
