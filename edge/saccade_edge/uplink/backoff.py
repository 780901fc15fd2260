"""How long to wait before the next try."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Exponential pauses with full jitter, so that a fleet does not return as one wave.

    The n-th pause is drawn between ``first_s`` and ``first_s * 2**n``, at most ``most_s`` (AWS
    Architecture Blog, "Exponential Backoff And Jitter", 2015, with a floor).
    """

    first_s: float = 0.5
    most_s: float = 30.0
    chance: random.Random = field(default_factory=random.Random)
    _tries: int = 0

    def next_s(self) -> float:
        """Seconds until the next try."""
        self._tries += 1
        ceiling = min(self.first_s * 2.0 ** min(self._tries, 16), self.most_s)
        return self.chance.uniform(min(self.first_s, ceiling), ceiling)

    def reset(self) -> None:
        """After a success."""
        self._tries = 0
