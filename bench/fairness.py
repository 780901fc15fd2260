"""What an honest device has of the cloud beside a greedy one.

    python -m bench.fairness [--rounds 3] [--seconds 6] [--greedy 1]

`saccade cloud serve` with the shipped bundle and one engine thread. An honest device sends a frame
and asks about it every 0.25 s, first alone, then beside greedy devices. Each of those has 16
streams, as many as one device may have, and keeps 60 questions open on each, every one about a
frame of its own. All live in processes of their own. Rounds alternate, so that what else the
machine does falls on both.

The last line is JSON: the honest device's median alone and beside them in milliseconds, how many
times as long it is, its share of answered questions, and answers a second of all greedy devices.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from bench.common import percentile, table
from bench.process import state_folder
from bench.simulated.asking_devices import Asker, Outcome, live, shares
from bench.simulated.packets import distinct, packets_of_clip
from saccade.bundle import Bundle
from saccade_demo.processes import address_of, running
from saccade_edge.plan import PipelineSettings

QUESTIONS = (
    "how many vehicles are there ?",
    "what colour is vehicle 1 ?",
    "is there a bus ?",
    "what is vehicle 1 ?",
)
EVERY_S = 0.25
STREAMS = 16
OPEN = 60
LOOKS = 24


def run(options: argparse.Namespace) -> dict[str, float]:
    """Print the table; what the last line says."""
    bundle = Bundle.open(options.bundle)
    packets = tuple(
        distinct(bundle, packets_of_clip(bundle, LOOKS, PipelineSettings()), options.packets)
    )
    serve = (
        *("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={bundle.folder}", "--threads=1"),
        *("--drain=0", "--store=memory:"),
    )
    alone: list[Outcome] = []
    beside: list[Outcome] = []
    greedy: list[Outcome] = []
    # gRPC's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        state_folder(),
        running("cloud", serve) as cloud,
        ProcessPoolExecutor(1 + options.greedy, context) as pool,
    ):
        asker = partial(
            Asker, address_of(cloud), bundle.token_digest, packets=packets, questions=QUESTIONS
        )
        honest = asker("honest", seconds=options.seconds, every_s=EVERY_S)
        pool.submit(live, asker("warm", seconds=1.0)).result()
        for _ in range(options.rounds):
            alone.append(pool.submit(live, honest).result())
            others = [
                asker(f"greedy-{number}", seconds=options.seconds + 1.5, streams=STREAMS,
                      open_questions=OPEN)
                for number in range(options.greedy)
            ]  # fmt: skip
            underway = [pool.submit(live, other) for other in others]
            beside.append(pool.submit(live, honest).result())
            greedy += [each.result() for each in underway]
    return _report(shares(alone), shares(beside), shares(greedy), options)


def _report(
    alone: Outcome, beside: Outcome, greedy: Outcome, options: argparse.Namespace
) -> dict[str, float]:
    columns = {"alone": alone, "beside greedy": beside, "greedy itself": greedy}
    print(table("answers", {name: _cells(found) for name, found in columns.items()}))
    medians = [percentile(found.answered_ms, 50) for found in (alone, beside)]
    return {
        "alone_p50_ms": medians[0],
        "beside_p50_ms": medians[1],
        "slowdown": medians[1] / medians[0] if medians[0] else 0.0,
        "answered_share": beside.share,
        "greedy_answers_per_s": len(greedy.answered_ms)
        / (options.rounds * (options.seconds + 1.5)),
    }


def _cells(found: Outcome) -> dict[str, str]:
    return {
        "asked": str(found.asked),
        "answered": f"{found.share:.1%}",
        "refused": str(found.refused),
        "median, ms": f"{percentile(found.answered_ms, 50):.1f}",
        "95 % within, ms": f"{percentile(found.answered_ms, 95):.1f}",
        **{
            f"median of {stage}": f"{percentile(values, 50):.1f}"
            for stage, values in found.stages_ms.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one round, with one load")
    parser.add_argument("--packets", type=int, default=600, help="that differ")
    parser.add_argument("--greedy", type=int, default=1, help="greedy devices")
    found = run(parser.parse_args(arguments))
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
