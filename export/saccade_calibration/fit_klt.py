"""Fits the tables of `klt` to an encoder's features."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from saccade.codecs.frequencies import Frequencies
from saccade.codecs.klt import Klt
from saccade.codecs.klt_levels import I64, coarser
from saccade.codecs.klt_table import MAX_REACH, FinerTables, FirstTables, KltTable
from saccade.types import F32
from saccade_calibration.principal import Principal, principal

F64 = npt.NDArray[np.float64]
WIDEST = 256  # features of tokens that are not wide
_COUNTED = 1 << 25  # numbers that frequencies are counted over: 256 MiB of levels


def usual_layers(dim: int) -> int:
    """Two; one for wide tokens, of which a second takes twice the time again."""
    return 2 if dim <= WIDEST else 1


def fit_klt(
    features: F32, *, distortion: float = 0.1, layers: int = 2, parts: Principal | None = None
) -> KltTable:
    """``features``: [N, D] float32, what the bundle's edge sends. ``distortion``: the base layer's
    squared error as a share of the variance; each further layer has about a ninth of it.
    ``parts``: the features' principal components, where they are known.
    """
    parts = parts or principal(features)
    mean, variances, basis = parts.mean, parts.variances, parts.basis
    level = water_level(variances, distortion)
    # A uniform quantiser of step s errs by s^2 / 12 on average.
    step = math.sqrt(12 * level) / 3 ** (layers - 1)
    bare = Klt(KltTable(step, mean, basis, ()))
    first = [_first_layer(variance, level, layers) for variance in variances.tolist()]
    every = -(-features.size // _COUNTED)
    tables = _count(bare.levels(features[::every]), np.array(first), layers)
    return KltTable(step, mean, basis, tables)


def water_level(variances: F64, distortion: float) -> float:
    """The level to which components are filled: sum of min(level, variance) is ``distortion`` of
    the sum of variances. [D] -> one number, found by bisection.
    """
    low, high = 0.0, float(variances.max())
    for _ in range(60):
        middle = (low + high) / 2
        if np.minimum(variances, middle).sum() > distortion * variances.sum():
            high = middle
        else:
            low = middle
    return high


def _first_layer(variance: float, level: float, layers: int) -> int:
    """The first layer whose water level lies below the variance; ``layers`` where none does."""
    reached = (layer for layer in range(layers) if variance > level / 9**layer)
    return next(reached, layers)


def _count(
    levels: I64, first: npt.NDArray[np.int64], layers: int
) -> tuple[tuple[FirstTables, FinerTables], ...]:
    """Frequencies of the levels [N, D] of the last layer's step, and of all coarser ones."""
    tables = []
    for layer in reversed(range(layers)):
        new, known = np.flatnonzero(first == layer), np.flatnonzero(first < layer)
        fresh = FirstTables(new, tuple(_level_table(levels[:, dim]) for dim in new))
        finer = FinerTables(known, tuple(_finer_tables(levels[:, dim]) for dim in known))
        tables.append((fresh, finer))
        levels = coarser(levels)
    return tuple(tables[::-1])


def _level_table(levels: I64) -> Frequencies:
    reach = int(np.clip(np.abs(levels).max(), 1, MAX_REACH))
    symbols = np.where(np.abs(levels) > reach, 2 * reach + 1, levels + reach)
    return frequencies(symbols, 2 * reach + 2)


def _finer_tables(levels: I64) -> tuple[Frequencies, ...]:
    before = coarser(levels)
    refined, signs = levels - 3 * before + 1, np.sign(before)
    return tuple(frequencies(refined[signs == sign], 3) for sign in (-1, 0, 1))


def frequencies(symbols: I64, alphabet: int) -> Frequencies:
    """With half an occurrence more of each symbol (Krichevsky and Trofimov 1981): what these few
    pictures don't show may still come.
    """
    return Frequencies.fit(2 * np.bincount(symbols, minlength=alphabet) + 1)
