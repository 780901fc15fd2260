"""k-means, and its form for more distances than there is time for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
LLOYD_STEPS = 15
_SEEDED_ON = 4  # points for each centre, that the first centres are drawn from
_AT_ONCE = 1 << 24  # distances, so that they take 64 MiB
# More distances than this in a step (a second or two) are taken in batches.
_MOST_DISTANCES = 1 << 28
_BATCH = 4  # points for each centre in a batch
_BATCHES = 16
_SEED_FEATURES = 16  # the leading components are what first centres are drawn by


def clustered(points: F64, count: int, generator: np.random.Generator) -> F64:
    """[N, D] -> [count, D] centres, by `k_means`, or by `mini_batch` where that takes too long."""
    few = len(points) * count <= _MOST_DISTANCES
    return (k_means if few else mini_batch)(points, count, generator)


def k_means(points: F64, count: int, generator: np.random.Generator) -> F64:
    """[N, D] -> [count, D] centres: k-means++ (Arthur and Vassilvitskii 2007), then Lloyd's steps.

    A centre that lost all its points goes to the point that is farthest from its own.
    """
    centres = _spread(_some(points, _SEEDED_ON * count, generator), count, generator)
    for _ in range(LLOYD_STEPS):
        nearest, distances = _assign(points, centres)
        sums, sizes = _sums(points, nearest, count)
        empty = np.flatnonzero(sizes == 0)
        sums[empty] = points[np.argsort(-distances, kind="stable")[: len(empty)]]
        moved = sums / np.maximum(sizes, 1)[:, None]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def mini_batch(points: F64, count: int, generator: np.random.Generator) -> F64:
    """The same by batches (Sculley, "Web-scale k-means clustering", 2010): a centre is the mean of
    all points that batches gave it. ``points``: of principal components, largest first, as the
    first centres are drawn by the leading ones alone.
    """
    start = _some(points, _SEEDED_ON * count, generator)
    centres = start[_drawn_fast(start[:, :_SEED_FEATURES], count, generator)]
    seen = np.zeros(count)
    for batch in range(_BATCHES):
        if batch == _BATCHES // 2:  # what early batches gave was given by centres that moved since
            seen[:] = 0
        some = _some(points, _BATCH * count, generator)
        nearest, distances = _assign(some, centres)
        sums, sizes = _sums(some, nearest, count)
        seen += sizes
        got = sizes > 0
        centres[got] += (sums[got] - sizes[got, None] * centres[got]) / seen[got, None]
        lost = np.flatnonzero(seen == 0) if batch == _BATCHES // 2 - 1 else np.zeros(0, np.int64)
        centres[lost] = some[np.argsort(-distances, kind="stable")[: len(lost)]]
    return centres


def _some(points: F64, most: int, generator: np.random.Generator) -> F64:
    """At most so many of the points, in their order."""
    if len(points) <= most:
        return points
    return points[np.sort(generator.choice(len(points), most, replace=False))]


def _spread(points: F64, count: int, generator: np.random.Generator) -> F64:
    return points[_drawn(points, count, generator)]


def _drawn(points: F64, count: int, generator: np.random.Generator) -> I64:
    """[count]: each next centre is a point, drawn by its squared distance to those before."""
    drawn = [int(generator.integers(len(points)))]
    distances = ((points - points[drawn[0]]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        total = distances.sum()
        shares = distances / total if total > 0 else None
        drawn.append(int(generator.choice(len(points), p=shares)))
        distances = np.minimum(distances, ((points - points[drawn[-1]]) ** 2).sum(axis=1))
    return np.array(drawn)


def _drawn_fast(points: F64, count: int, generator: np.random.Generator) -> I64:
    """As `_drawn`, with distances from products: rounding may draw a point twice."""
    norms = (points**2).sum(axis=1)
    lots = generator.random(count)
    drawn = np.zeros(count, np.int64)
    nearest = np.full(len(points), np.inf)
    for step in range(count):
        shares = np.cumsum(nearest if step else np.ones(len(points)))
        last = min(int(shares.searchsorted(lots[step] * shares[-1])), len(points) - 1)
        drawn[step] = last
        distances = norms + norms[last] - 2 * (points @ points[last])
        nearest = np.minimum(nearest, np.maximum(distances, 0))
    return drawn


def _sums(points: F64, nearest: I64, count: int) -> tuple[F64, I64]:
    """[count, D] sums of the points of each centre, and how many they are."""
    order = np.argsort(nearest, kind="stable")
    used, starts = np.unique(nearest[order], return_index=True)
    sums = np.zeros((count, points.shape[1]))
    sums[used] = np.add.reduceat(points[order], starts)
    return sums, np.bincount(nearest, minlength=count)


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
