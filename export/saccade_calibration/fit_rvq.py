"""Fits the codebooks of `rvq` to an encoder's features: k-means, stage after stage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.position_model import PlaceModel
from saccade.codecs.rvq_table import MAX_ENTRY, RvqTable, Stage
from saccade.types import F32, VIEW_KINDS
from saccade_calibration.fit_klt import frequencies

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
LLOYD_STEPS = 15
POINTS_PER_ENTRY = 16
_SEEDED_ON = 4  # points for each centre, that the first centres are drawn from
_AT_ONCE = 1 << 24  # distances, so that they take 64 MiB
# The largest feature of the calibration has 2^15 units: half of what an entry may have.
_PEAK_BITS = 15


def fit_rvq(
    features: F32,
    *,
    stages: int = 6,
    first: int = 8192,
    entries: int = 256,
    per_layer: int = 1,
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> RvqTable:
    """``features``: [N, D] float32, tokens in the order in which they are sent; what is known of
    their places and their views, `fit_usage` adds. ``done`` is called after each stage. ``first``:
    entries of the first stage, ``entries`` of the others; fewer where there are not 16 features for
    each.

    One large codebook is worth several small ones where features gather in clusters: on held-out
    tokens of the demo, 8,192 entries leave 0.09 of the variance at 12.8 bits, twice 256 entries
    0.12 at 15.6 bits.
    """
    peak = max(float(np.abs(features).max()), 2.0**-40)
    shift = _PEAK_BITS - math.ceil(math.log2(peak))
    left = np.rint(np.ldexp(features.astype(np.float64), shift))
    generator = np.random.default_rng(seed)
    fitted = []
    for number in range(stages):
        stage, left = _stage(left, entries if number else first, number > 0, generator)
        fitted.append(stage)
        done()
    return RvqTable(tuple(fitted), shift, per_layer, PlaceModel.none())


def _stage(
    left: F64, entries: int, with_zero: bool, generator: np.random.Generator
) -> tuple[Stage, F64]:
    """A stage for what is left [N, D], and what is left after it.

    ``with_zero``: entry 0 changes nothing, so that the stage makes no token worse.
    """
    count = max(min(entries, len(left) // POINTS_PER_ENTRY), 2)
    centres = k_means(left, count - with_zero, generator)
    if with_zero:
        centres = np.concatenate([np.zeros_like(centres[:1]), centres])
    book = np.clip(np.rint(centres), -MAX_ENTRY, MAX_ENTRY).astype(np.int32)
    uncounted = Stage(book, _alike(np.zeros(0, np.int64), len(book) + 1))
    nearest = np.concatenate([uncounted.search(part) for part in parts(left, len(book))])
    shares = _alike(uncounted.symbols(nearest), len(book) + 1)
    return Stage(book, shares), left - book[nearest]


def _alike(symbols: I64, alphabet: int) -> tuple[Frequencies, ...]:
    """The same frequencies for every kind of view."""
    return (frequencies(symbols, alphabet),) * len(VIEW_KINDS)


def parts(points: F64, centres: int) -> list[F64]:
    """Few enough at once for all their distances to ``centres`` entries."""
    step = max(_AT_ONCE // centres, 1)
    return [points[start : start + step] for start in range(0, len(points), step)]


def k_means(points: F64, count: int, generator: np.random.Generator) -> F64:
    """[N, D] -> [count, D] centres: k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps.

    A centre that lost all its points goes to the point that is farthest from its own.
    """
    few = generator.choice(len(points), min(len(points), _SEEDED_ON * count), replace=False)
    centres = _spread(points[np.sort(few)], count, generator)
    for _ in range(LLOYD_STEPS):
        nearest, distances = _assign(points, centres)
        order = np.argsort(nearest, kind="stable")
        used, starts = np.unique(nearest[order], return_index=True)
        sums = np.zeros_like(centres)
        sums[used] = np.add.reduceat(points[order], starts)
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
    narrow, norms = -2 * centres.T.astype(np.float32), (centres**2).sum(axis=1).astype(np.float32)
    nearest, best = np.empty(len(points), np.int64), np.empty(len(points))
    step = max(_AT_ONCE // len(centres), 1)
    for start in range(0, len(points), step):
        here = slice(start, start + step)
        scores = points[here].astype(np.float32) @ narrow + norms
        nearest[here] = np.argmin(scores, axis=1)
        best[here] = np.take_along_axis(scores, nearest[here, None], axis=1)[:, 0]
    return nearest, best + (points**2).sum(axis=1)
