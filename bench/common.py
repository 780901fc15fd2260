"""What benchmarks share: tables and quantiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """(median, 95th percentile), rounded to 0.01; zeros for no values."""
    if not values:
        return 0.0, 0.0
    median, p95 = np.percentile(values, [50, 95])
    return round(float(median), 2), round(float(p95), 2)


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of all are at or below (nearest rank, ISO 3534-1); values
    may be infinite. 0 for no values.
    """
    if not values:
        return 0.0
    rank = max(math.ceil(len(values) * percent / 100), 1)
    return sorted(values)[rank - 1]


def table(head: str, columns: Mapping[str, Mapping[str, str]], width: int = 16) -> str:
    """Columns side by side, rows by name in the order of their first appearance."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    left = max(len(name) for name in (head, *names)) + 2
    lines = [head.ljust(left) + "".join(title.rjust(width) for title in columns)]
    for name in names:
        cells = (column.get(name, "-").rjust(width) for column in columns.values())
        lines.append(name.ljust(left) + "".join(cells))
    return "\n".join(lines)
