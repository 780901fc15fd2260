"""From the model's scores to the next token: the most probable one, or one that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from saccade.types import F32
from saccade_cloud.engines.base import GenerateParams


class Decoded(NamedTuple):
    """A token and the logarithm of its probability, 0 at most; NaN from broken scores."""

    token: int
    log_probability: float


class Draw(Protocol):
    """How one answer's tokens are chosen."""

    def token(self, scores: F32) -> int:
        """Of [V] finite scores."""
        ...


class Greedy:
    """The most probable token, the lowest id among equals."""

    def token(self, scores: F32) -> int:
        return int(scores.argmax())


class Drawn:
    """One random number a token, by the answer's own seed."""

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._random = np.random.Generator(np.random.PCG64(seed))

    def token(self, scores: F32) -> int:
        """Drawn from the fewest tokens that together have ``top_p``."""
        scaled = (scores.astype(np.float64) - scores.max()) / self._temperature
        order = np.argsort(-scaled, kind="stable")
        sums = np.cumsum(np.exp(scaled[order]))
        allowed = int(np.searchsorted(sums, self._top_p * sums[-1])) + 1
        place = self._random.random() * sums[min(allowed, len(sums)) - 1]
        return int(order[np.searchsorted(sums, place, side="right")])


class Forced:
    """A given continuation, whatever the scores say; ``scores`` keeps them."""

    def __init__(self, continuation: Sequence[int]) -> None:
        self._continuation = tuple(continuation)
        self.scores: list[F32] = []

    def token(self, scores: F32) -> int:
        self.scores.append(scores.copy())
        return self._continuation[len(self.scores) - 1]


def draw_of(params: GenerateParams) -> Draw:
    """As ``params`` ask for."""
    if params.temperature == 0:
        return Greedy()
    return Drawn(params.temperature, params.top_p, params.seed)


def choose(logits: F32, draws: Sequence[Draw]) -> list[Decoded]:
    """Of [B, V] the next token of each row; NaN for a row that has no finite best."""
    best = logits.argmax(axis=-1)
    with np.errstate(invalid="ignore"):
        top = np.take_along_axis(logits, best[:, None], axis=-1)
        below = logits - top
        logs = -np.log(np.exp(below, dtype=np.float32).sum(axis=-1))
    chosen = []
    for row, draw in enumerate(draws):
        token = draw.token(logits[row]) if np.isfinite(logs[row]) else int(best[row])
        chosen.append(Decoded(token, float(logs[row] + below[row, token])))
    return chosen
