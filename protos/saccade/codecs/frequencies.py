"""How often each symbol of an alphabet is expected: integers that sum to 2^16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

RANGE_BITS = 16
TOTAL = 1 << RANGE_BITS
MAX_SYMBOLS = 1 << 14  # a quarter of the range: common symbols still get short codes


@dataclass(frozen=True, slots=True)
class Frequencies:
    """``widths[s]`` of 2^16 is the share of symbol s, at least 1: every symbol can be written.
    ``starts[s]``: the sum of the widths before it.
    """

    widths: tuple[int, ...]
    starts: tuple[int, ...]

    @classmethod
    def of(cls, widths: Sequence[int]) -> Frequencies:
        """Raises ValueError for what is no such table."""
        if not 2 <= len(widths) <= MAX_SYMBOLS or min(widths) < 1 or sum(widths) != TOTAL:
            raise ValueError(
                f"{len(widths)} symbols, of which the rarest has {min(widths, default=0)}, and "
                f"all {sum(widths)} of {TOTAL}"
            )
        return cls(tuple(widths), tuple(accumulate(widths, initial=0))[:-1])

    @classmethod
    def fit(cls, counts: npt.ArrayLike) -> Frequencies:
        """Shares in proportion to ``counts`` [N] >= 0, integers only, so that every machine fits
        the same table. A symbol that was never seen gets the least share.
        """
        seen = [int(n) for n in np.asarray(counts, np.int64)]
        spare, seen_in_all = TOTAL - len(seen), max(sum(seen), 1)
        widths = [1 + n * spare // seen_in_all for n in seen]
        # What rounding left goes where it costs least: to the most frequent, lowest index first.
        widths[max(range(len(seen)), key=lambda s: (seen[s], -s))] += TOTAL - sum(widths)
        return cls.of(widths)
