"""Time of every selection method and quota, on one core.

    python -m bench.selection [--rounds N]

Made-up tokens: methods look at values, not at what they mean. Two sizes: a frame of the demo
bundle, 5 views of 64 tokens x 32 features, 16 kept of each; and one view of a CLIP ViT-L at 336
pixels, 576 tokens x 1024 features with 64-wide keys and 7 layers of saliency, 64 kept. Medians over
rounds; in a round every method runs once, so that a busy moment does not fall on one of them.

The last line is JSON: `default_ms`: the default method over the 5 views; `slowest_greedy_ms`: of
the methods that choose step by step, the slowest at 576 x 1024, and `slowest` its name;
`slowest_ms`: of all.
"""

from __future__ import annotations

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from bench.common import table
from saccade.selection import METHODS, QUOTAS, allot, select
from saccade.types import Box, Grid, TokenGrid

VIEWS = 5
DEFAULT = "cls_ensemble"
STEP_BY_STEP = frozenset(
    {
        "apet",
        "cdpruner",
        "divprune",
        "flashvlm",
        "id_selection",
        "mmr",
        "mmtok",
        "scope",
        "tome",
        "vispruner",
    }
)
WINDOWS: tuple[Box, ...] = ((0, 0, 1, 1), *((x / 5, 0.2, x / 5 + 0.3, 0.7) for x in range(4)))


def made_up(seed: int, grid: Grid, dim: int, layers: int, keys: int) -> TokenGrid:
    generator = np.random.default_rng(seed)
    places = int(np.prod(grid))
    saliency = generator.random((layers, 16, places), np.float32)
    return TokenGrid(
        features=generator.normal(size=(places, dim)).astype(np.float32),
        saliency=saliency / saliency.sum(axis=2, keepdims=True),
        keys=generator.normal(size=(places, keys)).astype(np.float32),
        grid=grid,
    )


def medians(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each, after a round that doesn't count."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds + 1):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - started)
    return {name: float(np.median(times[1:])) * 1e3 for name, times in taken.items()}


def of_methods(views: Sequence[TokenGrid], budget: int, rounds: int) -> dict[str, float]:
    text = made_up(9, (1, 1, 12), views[0].features.shape[1], 1, 1).features

    def run(method: str) -> None:
        for view in views:
            select(view, budget, method=method, text=text)

    return medians({method: partial(run, method) for method in METHODS}, rounds)


def of_quotas(views: Sequence[TokenGrid], budget: int, rounds: int) -> dict[str, float]:
    work: dict[str, Callable[[], object]] = {
        quota: partial(allot, views, WINDOWS, budget, method=quota) for quota in QUOTAS
    }
    return medians(work, rounds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="time of every selection method and quota")
    parser.add_argument("--rounds", type=int, default=15, help="default %(default)d")
    options = parser.parse_args(arguments)
    demo = [made_up(seed, (1, 8, 8), 32, 2, 16) for seed in range(VIEWS)]
    clip = [made_up(seed, (1, 24, 24), 1024, 7, 64) for seed in range(VIEWS)]
    small = of_methods(demo, 16, options.rounds * 4)
    large = of_methods(clip[:1], 64, options.rounds)
    columns = {f"{VIEWS} x 64 x 32": small, "576 x 1024": large}
    print(table("method, ms", {title: cells(column) for title, column in columns.items()}))
    print()
    quotas = {
        f"{VIEWS} x 64 x 32": of_quotas(demo, 80, options.rounds * 4),
        f"{VIEWS} x 576 x 1024": of_quotas(clip, 320, options.rounds),
    }
    print(table("quota, ms", {title: cells(column) for title, column in quotas.items()}))
    slowest = max(STEP_BY_STEP, key=large.__getitem__)
    record = {
        "default_ms": round(small[DEFAULT], 3),
        "slowest_greedy_ms": round(large[slowest], 2),
        "slowest": slowest,
        "slowest_ms": round(max(large.values()), 2),
    }
    print(json.dumps(record))


def cells(column: dict[str, float]) -> dict[str, str]:
    return {name: f"{ms:.2f}" for name, ms in column.items()}


if __name__ == "__main__":
    main()
