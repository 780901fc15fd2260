"""Bytes a frame against right answers: tokens, and pictures of the same views.

    python -m bench.rate_accuracy [--frames 500] [--out DIR] [--pixels BUNDLE]

Held-out frames through every arm: our selection methods and codecs, JPEG, WebP, AVIF and HEIC of
the same resized views (in one file and in single ones), of the whole frame and of half of it.
Every message is serialised and counted, windows and headers included. Each family is compared with
its own uncompressed accuracy. The last line is JSON.

Interrupted, it goes on where it stopped: DIR keeps every result.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from rich.progress import Progress

from bench.heldout import FIRST_SEED, Eye, Seen
from bench.rate.arms import Arm, Sight, all_arms
from bench.rate.report import families, needs, table
from bench.rate.results import Result, read, scores
from saccade.bundle import Bundle
from saccade_cloud.answering import Answerer
from saccade_cloud.assemble import open_answerer, open_engine
from saccade.selection import METHODS


class Bench:
    """One process's models. ``pixels``: the bundle whose model answers from pictures."""

    def __init__(self, bundle: str, pixels: str, methods: Sequence[str], codec: str) -> None:
        ours, theirs = Bundle.open(bundle), Bundle.open(pixels)
        self.sight = Sight(Eye(ours, "detector", 1), Eye(theirs, "detector", 1))
        self.minds = {"ours": _mind(ours), "theirs": _mind(theirs)}
        self.arms = all_arms(ours, methods, codec)
        self._loop = asyncio.new_event_loop()

    def frame(self, seed: int, done: frozenset[str]) -> list[Result]:
        """The frame through all arms but those that are ``done``."""
        seen = self.sight.ours.see(seed)
        arms = [arm for arm in self.arms if arm.name not in done]
        return self._loop.run_until_complete(self._ask(seed, seen, arms))

    async def _ask(self, seed: int, seen: Seen, arms: Sequence[Arm]) -> list[Result]:
        results = []
        for arm in arms:
            sent = arm.send(self.sight, seen)
            mind = self.minds[arm.mind]
            asked = sent.seen.questions
            replies = await asyncio.gather(*(mind.answer(sent.frame, q.text) for q in asked))
            hits = tuple((q.kind, r.text == q.answer) for q, r in zip(asked, replies, strict=True))
            results.append(Result(arm.name, seed, sent.bytes, sent.payload, hits))
        return results


def _mind(bundle: Bundle) -> Answerer:
    return open_answerer(bundle, open_engine(bundle, threads=1))


_bench: Bench | None = None  # of this process


def _open(*words: Any) -> None:
    global _bench
    _bench = Bench(*words)


def _run(seed: int, done: frozenset[str]) -> list[Result]:
    assert _bench is not None
    return _bench.frame(seed, done)


def measure(options: argparse.Namespace, path: Path) -> list[Result]:
    """Every result, of this run and of those before it."""
    done: dict[int, set[str]] = defaultdict(set)
    results = list(read(path))
    for result in results:
        done[result.frame].add(result.arm)
    seeds = range(options.first, options.first + options.frames)
    words = (options.bundle, options.pixels or options.bundle, options.methods, options.codec)
    with (
        ProcessPoolExecutor(options.processes, initializer=_open, initargs=words) as pool,
        path.open("a") as file,
        Progress() as bar,
    ):
        task = bar.add_task("frames", total=len(seeds))
        jobs = [pool.submit(_run, seed, frozenset(done[seed])) for seed in seeds]
        for job in as_completed(jobs):
            found = job.result()
            file.write("".join(f"{result.to_line()}\n" for result in found))
            file.flush()
            results += found
            bar.advance(task)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--pixels", help="the bundle of the pixel arms (as --bundle)")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--methods", nargs="+", default=sorted(METHODS))
    parser.add_argument("--codec", default="int8z")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/rate"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = measure(options, options.out / "results.jsonl")
    arms = all_arms(Bundle.open(options.bundle), options.methods, options.codec)
    found = scores(results)
    print(table(arms, found))
    print(needs(families(arms, found)))


if __name__ == "__main__":
    main()
