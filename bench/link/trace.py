"""How many bytes a link delivers by when: the one thing that every emulated link is driven by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from saccade.errors import ConfigError

Floats = npt.NDArray[np.float64]

MAX_RATE_BPS = 1e11  # 100 Gbit/s; more is a mistake of units
MAX_PERIOD_S = 7 * 86400.0


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Bytes that have passed as a function of time: straight between points, repeated for ever.

    ``times_s``: [N] float64, ascending from 0 to the period; ``through``: [N] float64, bytes that
    have passed by then, from 0, never falling. ``delay_s``: the one-way delay that belongs to the
    trace, 0 where its source says nothing. Raises ``ConfigError`` for a curve that can't be one.
    """

    times_s: Floats
    through: Floats
    delay_s: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        times, through = self.times_s, self.through
        if len(times) != len(through) or len(times) < 2 or times[0] != 0 or through[0] != 0:
            raise ConfigError("a trace needs two points or more, the first of them 0 s, 0 bytes")
        if not (np.isfinite(times).all() and np.isfinite(through).all()):
            raise ConfigError("a trace has a time or a rate that is no number")
        if (np.diff(times) <= 0).any() or (np.diff(through) < 0).any():
            raise ConfigError("a trace's times must rise and its bytes must not fall")
        if not 0 < self.period_s <= MAX_PERIOD_S:
            raise ConfigError(f"a trace of {self.period_s:g} s: at most {MAX_PERIOD_S:g} s")
        if not 0 < self.mean_bps <= MAX_RATE_BPS:
            raise ConfigError(
                f"a trace of {self.mean_bps:g} bit/s: more than 0, at most 100 Gbit/s"
            )
        if not 0 <= self.delay_s <= 60:
            raise ConfigError(f"a delay of {self.delay_s:g} s: 0 to 60 s")

    @classmethod
    def constant(cls, rate_bps: float, *, delay_s: float = 0.0) -> Trace:
        """The same rate for ever. Raises ``ConfigError`` for a rate that is none."""
        return cls.steps([(1.0, rate_bps)], delay_s=delay_s)

    @classmethod
    def steps(cls, parts: Sequence[tuple[float, float]], *, delay_s: float = 0.0) -> Trace:
        """One part after the other, each (seconds, bit/s). Raises ``ConfigError``."""
        lasting = np.array([seconds for seconds, _ in parts], np.float64)
        rates = np.array([rate for _, rate in parts], np.float64)
        if not (rates >= 0).all() or not (rates <= MAX_RATE_BPS).all():
            raise ConfigError(f"a rate of {_worst(rates):g} bit/s: 0 to 100 Gbit/s")
        return cls(
            np.concatenate([[0.0], np.cumsum(lasting)]),
            np.concatenate([[0.0], np.cumsum(lasting * rates / 8)]),
            delay_s=delay_s,
        )

    @property
    def period_s(self) -> float:
        return float(self.times_s[-1])

    @property
    def mean_bps(self) -> float:
        return float(self.through[-1]) * 8 / self.period_s

    def bytes_by(self, seconds: float) -> float:
        """Bytes that have passed after ``seconds``; the trace begins again at its end."""
        rounds, rest = divmod(seconds, self.period_s)
        return rounds * float(self.through[-1]) + float(np.interp(rest, self.times_s, self.through))

    def when(self, count: float) -> float:
        """The first moment, in seconds, by which ``count`` bytes have passed."""
        if count <= 0:
            return 0.0
        whole = float(self.through[-1])
        rounds = max(math.ceil(count / whole) - 1, 0)  # the quotient may underflow
        rest = min(max(count - rounds * whole, 0.0), whole)
        at = max(1, int(self.through.searchsorted(rest)))  # "left": the first, so no plateau
        earlier, later = self.times_s[at - 1], self.times_s[at]
        low, high = self.through[at - 1], self.through[at]
        share = (rest - low) / (high - low) if high > low else 0.0
        return float(rounds * self.period_s + earlier + share * (later - earlier))

    def times(self, factor: float) -> Trace:
        """The same ups and downs and gaps, at ``factor`` times the rate."""
        return replace(self, through=self.through * factor)

    def rates_bps(self, bin_s: float) -> Floats:
        """[N] the mean rate in each whole bin of one period: what pictures and statistics need."""
        edges = np.arange(0, self.period_s + bin_s / 2, bin_s)
        rates: Floats = np.diff(np.interp(edges, self.times_s, self.through)) * 8 / bin_s
        return rates

    def longest_gap_s(self) -> float:
        """The longest time in which nothing passes, within one period."""
        still = np.diff(self.through) <= 0
        longest = current = 0.0
        for seconds, nothing in zip(np.diff(self.times_s), still, strict=True):
            current = current + float(seconds) if nothing else 0.0
            longest = max(longest, current)
        return longest


def _worst(rates: Floats) -> float:
    """A rate that is outside what is allowed, to name it."""
    wrong = rates[~((rates >= 0) & (rates <= MAX_RATE_BPS))]
    return float(wrong[0])
