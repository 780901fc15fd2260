"""What a link will carry, from what it carried: the rule of RobustMPC.

The harmonic mean of the last five rates, divided by one and the largest relative error that this
mean made about the last five (Yin et al., "A Control-Theoretic Approach for Dynamic Adaptive Video
Streaming over HTTP", SIGCOMM 2015, section 4.3). Slow moments weigh more than fast ones, and a link
that surprises is trusted less.
"""

from __future__ import annotations

from collections import deque

SAMPLES = 5


class RobustRate:
    """Of samples in bytes a second, all above 0."""

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=SAMPLES)
        self._errors: deque[float] = deque(maxlen=SAMPLES)

    @property
    def mean(self) -> float | None:
        """Harmonic, None where there are no samples."""
        if not self._rates:
            return None
        return len(self._rates) / sum(1 / rate for rate in self._rates)

    @property
    def predicted(self) -> float | None:
        """The mean, lowered by the largest recent error."""
        mean = self.mean
        return None if mean is None else mean / (1 + max(self._errors, default=0.0))

    def add(self, rate: float) -> None:
        mean = self.mean
        if mean is not None:
            self._errors.append(abs(mean - rate) / rate)
        self._rates.append(rate)

    def clear(self) -> None:
        self._rates.clear()
        self._errors.clear()
