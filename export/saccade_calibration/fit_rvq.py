"""Fits the codebooks of `rvq` to an encoder's features: k-means, stage after stage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.position_model import PlaceModel
from saccade.codecs.rvq_table import MAX_ENTRY, Projection, RvqTable, Stage
from saccade.types import F32, VIEW_KINDS
from saccade_calibration.clustering import clustered
from saccade_calibration.fit_klt import WIDEST, frequencies
from saccade_calibration.principal import Principal, pieces, principal

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
POINTS_PER_ENTRY = 16
_AT_ONCE = 1 << 24  # distances, so that they take 64 MiB
# Codebooks of wide tokens are of their principal components, two for each bit: by reverse
# water-filling, a spectrum of 1/i has use for 1.4.
COMPONENTS_PER_BIT = 2
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
    parts: Principal | None = None,
    done: Callable[[], None] = lambda: None,
) -> RvqTable:
    """``features``: [N, D] float32, tokens in the order in which they are sent; what is known of
    their places and their views, `fit_usage` adds. ``done`` is called after each stage. ``first``:
    entries of the first stage, ``entries`` of the others; fewer where there are not 16 features for
    each. ``parts``: the features' principal components, where they are known; of use for wide
    tokens only.

    One large codebook is worth several small ones where features gather in clusters: on held-out
    tokens of the demo, 8,192 entries leave 0.09 of the variance at 12.8 bits, twice 256 entries
    0.12 at 15.6 bits.
    """
    peak = max(float(np.abs(features).max()), 2.0**-40)
    shift = _PEAK_BITS - math.ceil(math.log2(peak))
    projection = None
    if features.shape[1] > WIDEST:
        bits = math.log2(first) + (stages - 1) * math.log2(entries)
        rank = min(math.ceil(COMPONENTS_PER_BIT * bits), WIDEST)
        projection = _projection(parts or principal(features), rank, shift)
    left = units(features, shift, projection)
    generator = np.random.default_rng(seed)
    fitted = []
    for number in range(stages):
        stage, left = _stage(left, entries if number else first, number > 0, generator)
        fitted.append(stage)
        done()
    return RvqTable(tuple(fitted), shift, per_layer, PlaceModel.none(), projection)


def units(features: F32, shift: int, projection: Projection | None) -> F64:
    """[N, D] -> [N, P] whole numbers that the first stage is given, as the codec makes them."""
    found = []
    for piece in pieces(features):
        wide = np.rint(np.ldexp(piece.astype(np.float64), shift))
        found.append(wide if projection is None else projection.components(wide))
    return np.concatenate(found)


def _projection(parts: Principal, rank: int, shift: int) -> Projection:
    mean = np.rint(np.ldexp(parts.mean.astype(np.float64), shift)).astype(np.int32)
    return Projection(mean, np.ascontiguousarray(parts.basis[:rank]))


def _stage(
    left: F64, entries: int, with_zero: bool, generator: np.random.Generator
) -> tuple[Stage, F64]:
    """A stage for what is left [N, D], and what is left after it.

    ``with_zero``: entry 0 changes nothing, so that the stage makes no token worse.
    """
    count = max(min(entries, len(left) // POINTS_PER_ENTRY), 2)
    centres = clustered(left, count - with_zero, generator)
    if with_zero:
        centres = np.concatenate([np.zeros_like(centres[:1]), centres])
    book = np.clip(np.rint(centres), -MAX_ENTRY, MAX_ENTRY).astype(np.int32)
    uncounted = Stage(book, _alike(np.zeros(0, np.int64), len(book) + 1))
    nearest = np.concatenate([uncounted.search(part) for part in chunks(left, len(book))])
    shares = _alike(uncounted.symbols(nearest), len(book) + 1)
    return Stage(book, shares), left - book[nearest]


def _alike(symbols: I64, alphabet: int) -> tuple[Frequencies, ...]:
    """The same frequencies for every kind of view."""
    return (frequencies(symbols, alphabet),) * len(VIEW_KINDS)


def chunks(points: F64, centres: int) -> list[F64]:
    """Few enough at once for all their distances to ``centres`` entries."""
    step = max(_AT_ONCE // centres, 1)
    return [points[start : start + step] for start in range(0, len(points), step)]
