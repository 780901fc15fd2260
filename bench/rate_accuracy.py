"""Bytes a frame against right answers: tokens, and pictures of the same views.

    python -m bench.rate_accuracy [--frames 500] [--out runs/rate] [--processes N]

Held-out frames through every arm: our operating points, selection methods and registers; JPEG,
WebP, AVIF and HEIC of the same resized views (in one file, in single ones, at half size), of the
whole frame and of half of it; one CLS vector a view. Every message is serialised and counted,
windows and headers included ("bare": without the headers of picture files). The pixel arms and the
CLS arm answer with models of their own, fine-tuned for what they get (see `bench/baselines`), and
each family is compared with its own uncompressed accuracy: the bytes at one point below it, on the
upper envelope of its points, linear in the logarithm of bytes in between. The last line is JSON.

Interrupted, it goes on where it stopped: the folder keeps every result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.progress import Progress

from bench.heldout import FIRST_SEED, FrameEncoder
from bench.rate import plot, report
from bench.rate.arms import Arm, EncodedViews, Sent, all_arms
from bench.rate.results import Result, read, scores
from saccade.bundle import Bundle
from saccade.selection import UNGUIDED
from saccade_cloud.answering import Answerer
from saccade_cloud.assemble import open_answerer, open_engine

BASELINES = Path(__file__).parent / "baselines"


class Bench:
    """One process's models: the bundles by the names of minds, "ours" among them."""

    def __init__(self, folders: Mapping[str, str], methods: Sequence[str]) -> None:
        bundles = {mind: Bundle.open(folder) for mind, folder in folders.items()}
        ours = bundles["ours"]
        frame_encoders = {
            mind: FrameEncoder(bundle, "detector", 1, finder=ours)
            for mind, bundle in bundles.items()
        }
        self.encoded = EncodedViews(frame_encoders)
        self._loop = asyncio.new_event_loop()
        self.minds = {
            mind: self._loop.run_until_complete(_mind(bundle)) for mind, bundle in bundles.items()
        }
        self.arms = all_arms({mind: b.manifest for mind, b in bundles.items()}, methods)

    def frame(self, seed: int, done: frozenset[str]) -> list[Result]:
        """The frame through all arms but those that are ``done``."""
        arms = [arm for arm in self.arms if arm.name not in done]
        if not arms:
            return []
        seen = self.encoded.frame_encoders["ours"].render_and_encode(seed)
        return [self._result(arm, arm.send(self.encoded, seen)) for arm in arms]

    def _result(self, arm: Arm, sent: Sent) -> Result:
        asked = sent.seen.questions
        texts = self._loop.run_until_complete(
            _ask(self.minds[arm.mind], sent, [question.text for question in asked])
        )
        hits = tuple((q.kind, t == q.answer) for q, t in zip(asked, texts, strict=True))
        return Result(arm.name, sent.seen.frame.sequence, sent.bytes, sent.payload, hits)


async def _mind(bundle: Bundle) -> Answerer:
    return open_answerer(bundle, open_engine(bundle, threads=1))


async def _ask(mind: Answerer, sent: Sent, questions: Sequence[str]) -> list[str]:
    return await asyncio.gather(*(mind.text(sent.frame, q) for q in questions))


_bench: list[Bench] = []  # of this process


def _open(folders: Mapping[str, str], methods: Sequence[str]) -> None:
    _bench.append(Bench(folders, methods))


def _run(seed: int, done: frozenset[str]) -> list[Result]:
    return _bench[0].frame(seed, done)


def measure(options: argparse.Namespace, folders: Mapping[str, str], path: Path) -> list[Result]:
    """Every result, of this run and of those before it."""
    done: dict[int, set[str]] = defaultdict(set)
    results = list(read(path))
    for result in results:
        done[result.frame].add(result.arm)
    seeds = range(options.first, options.first + options.frames)
    with (
        ProcessPoolExecutor(
            options.processes, initializer=_open, initargs=(folders, options.methods)
        ) as pool,
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
    return [result for result in results if result.frame in seeds]


def bundles(options: argparse.Namespace) -> dict[str, str]:
    """The bundle of each mind; baselines only where their weights are there."""
    chosen = {
        "ours": options.bundle,
        "registers": options.registers,
        "pixels": options.pixels,
        "cls": options.cls,
    }
    return {mind: folder for mind, folder in chosen.items() if folder != "none"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="crossing")
    for mind, folder in (
        ("registers", "crossing-registers"),
        ("pixels", str(BASELINES / "pixels")),
        ("cls", str(BASELINES / "cls")),
    ):
        parser.add_argument(f"--{mind}", default=folder, help='a bundle, "none" to leave it out')
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--first", type=int, default=FIRST_SEED)
    parser.add_argument("--methods", nargs="*", default=sorted(UNGUIDED))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("runs/rate"))
    parser.add_argument("--plot", type=Path, help="PNG (default: rate.png in --out)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = bundles(options)
    results = measure(options, folders, options.out / "results.jsonl")
    manifests = {mind: Bundle.open(folder).manifest for mind, folder in folders.items()}
    arms = all_arms(manifests, options.methods)
    found = scores(results)
    known = report.families(arms, found)
    print(report.arms_table(arms, found), end="\n\n")
    print(report.needs_table(known), end="\n\n")
    print(report.ratios_table(known), end="\n\n")
    plot.draw(known, options.plot or options.out / "rate.png")
    print(json.dumps(report.summary(known)))


if __name__ == "__main__":
    main()
