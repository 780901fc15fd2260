"""Fits the codebooks of `rvq` to an encoder's features: k-means, stage after stage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from saccade.codecs.rvq_table import MAX_ENTRY, RvqTable, Stage
from saccade.nouns import F32
from saccade_export.fit_klt import frequencies

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
LLOYD_STEPS = 25
# The largest feature of the calibration has 2^15 units: half of what an entry may have.
_PEAK_BITS = 15


def fit_rvq(
    features: F32,
    *,
    stages: int = 8,
    entries: int = 256,
    per_layer: int = 2,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> RvqTable:
    """``features``: [N, D] float32, tokens in the order in which they are sent. ``done`` is called
    after each stage. With few features there are fewer entries.
    """
    peak = max(float(np.abs(features).max()), 2.0**-40)
    shift = _PEAK_BITS - math.ceil(math.log2(peak))
    left = np.rint(np.ldexp(features.astype(np.float64), shift))
    generator = np.random.default_rng(seed)
    fitted = []
    for number in range(stages):
        stage, left = _stage(left, entries, number > 0, generator)
        fitted.append(stage)
        done()
    return RvqTable(tuple(fitted), shift, per_layer)


def _stage(
    left: F64, entries: int, with_zero: bool, generator: np.random.Generator
) -> tuple[Stage, F64]:
    """A stage for what is left [N, D], and what is left after it.

    ``with_zero``: entry 0 changes nothing, so that the stage makes no token worse.
    """
    count = max(min(entries, len(left)), 2)
    centres = k_means(left, count - with_zero, generator)
    if with_zero:
        centres = np.concatenate([np.zeros_like(centres[:1]), centres])
    book = np.clip(np.rint(centres), -MAX_ENTRY, MAX_ENTRY).astype(np.int32)
    uncounted = Stage(book, frequencies(np.zeros(0, np.int64), len(book) + 1))
    nearest = uncounted.search(left)
    shares = frequencies(uncounted.symbols(nearest), len(book) + 1)
    return Stage(book, shares), left - book[nearest]


def k_means(points: F64, count: int, generator: np.random.Generator) -> F64:
    """[N, D] -> [count, D] centres: k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps.

    A centre that lost all its points goes to the point that is farthest from its own.
    """
    centres = _spread(points, count, generator)
    for _ in range(LLOYD_STEPS):
        nearest, distances = _assign(points, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, points)
        sizes = np.bincount(nearest, minlength=count)
        empty = np.flatnonzero(sizes == 0)
        sums[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
        moved = sums / np.maximum(sizes, 1)[:, None]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _spread(points: F64, count: int, generator: np.random.Generator) -> F64:
    """Each next centre is a point, drawn by its squared distance to those before."""
    centres = [points[generator.integers(len(points))]]
    distances = ((points - centres[0]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = distances.sum()
        shares = distances / total if total > 0 else None
        centres.append(points[generator.choice(len(points), p=shares)])
        distances = np.minimum(distances, ((points - centres[-1]) ** 2).sum(axis=1))
    return np.stack(centres)


def _assign(points: F64, centres: F64) -> tuple[I64, F64]:
    """The nearest centre of each point [N], and its squared distance [N]."""
    scores = (centres**2).sum(axis=1) - 2 * (points @ centres.T)
    nearest = np.argmin(scores, axis=1)
    best = np.take_along_axis(scores, nearest[:, None], axis=1)[:, 0]
    return nearest, best + (points**2).sum(axis=1)
