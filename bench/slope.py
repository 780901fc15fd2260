"""How fast something grows, where single readings jump."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes of all pairs (Theil 1950, Sen 1968): up to 29 % of the readings may
    be anything. 0 for fewer than two times.
    """
    first, second = np.triu_indices(len(times), k=1)
    x, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    apart = x[second] - x[first]
    rises = (y[second] - y[first])[apart > 0] / apart[apart > 0]
    return float(np.median(rises)) if rises.size else 0.0
