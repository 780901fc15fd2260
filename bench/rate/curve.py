"""From points (bytes, accuracy) to "how many bytes for this accuracy", and ratios of those."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.rate.results import ROUNDS, Score


@dataclass(frozen=True)
class Family:
    """Arms that differ in rate only, with the arm that loses nothing, against which they count."""

    name: str
    points: tuple[Score, ...]
    whole: Score


def bytes_for(
    family: Family,
    measure: str,
    points_lost: float,
    *,
    payload: bool = False,
    frames: npt.NDArray[np.int64] | None = None,
) -> float:
    """Bytes a frame at which the family is ``points_lost`` percentage points below its own
    uncompressed accuracy.

    The points' upper envelope (a point is worth what any cheaper point reaches), linear in the
    logarithm of the bytes between neighbours; infinite where no point is good enough. A family
    whose cheapest point is good enough is given that point's bytes: nothing is extrapolated.
    """
    wanted = family.whole.accuracy(measure, frames) - points_lost / 100
    known = sorted(
        (_bytes(point, payload, frames), point.accuracy(measure, frames)) for point in family.points
    )
    return _crossing(known, wanted)


def _bytes(point: Score, payload: bool, frames: npt.NDArray[np.int64] | None) -> float:
    each = point.payload if payload else point.sent
    return float((each if frames is None else each[frames]).mean())


def _crossing(known: Sequence[tuple[float, float]], wanted: float) -> float:
    best, before = -math.inf, (0.0, 0.0)
    for size, reached in known:
        if reached >= wanted:
            if best == -math.inf:
                return size
            share = (wanted - best) / (reached - best)
            return math.exp((1 - share) * math.log(before[0]) + share * math.log(size))
        if reached > best:
            best, before = reached, (size, reached)
    return math.inf


def interval(ours: Family, theirs: Family, measure: str, points_lost: float) -> tuple[float, float]:
    """95 % bootstrap interval of the ratio theirs / ours, resampling whole frames.

    Where theirs never gets there the ratio is infinite, where ours does not it is 0.
    """
    rng = np.random.default_rng(0)
    count = len(ours.whole.sent)
    ratios = []
    for _ in range(ROUNDS):
        draw = rng.integers(0, count, count)
        mine = bytes_for(ours, measure, points_lost, frames=draw)
        size = bytes_for(theirs, measure, points_lost, frames=draw)
        ratios.append(0.0 if math.isinf(mine) else size / mine)
    low, high = np.percentile(ratios, [2.5, 97.5], method="nearest")
    return float(low), float(high)
