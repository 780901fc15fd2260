"""How much a language model's answer changes when it reads other tokens: by teacher forcing.

Equal texts are a coarse measure: one other word near the beginning of a long answer counts as much
as another answer, and what nearly changed counts for nothing. So the answer from all tokens is
given to the model, token by token, before the tokens that are judged: is its own choice at each
place the same, and how far are its probabilities from those of the whole?
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from saccade.types import F32
from saccade_cloud.engines.base import Engine, GenerateParams, Prompt

_STAND_IN = 0  # the token after the end: it is read by nobody


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The answer from all tokens. ``continuation``: its tokens, and one more where the model ended
    it; ``scores``: [M, V] the model's logits for each of them, None where the engine tells none.
    """

    continuation: tuple[int, ...]
    scores: F32 | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """``agreement``: of the places of the answer, the end among them, the share with the same most
    probable token; ``divergence``: mean Kullback-Leibler divergence from the whole's probabilities,
    in nats a token; ``same``: whether the answers are equal. Of an engine that tells no scores
    there is only the last: ``agreement`` is 1 or 0.
    """

    agreement: float
    divergence: float | None
    same: bool


class TeacherForcing:
    """Judges prompts by the answers that ``engine`` gives to the whole."""

    def __init__(self, engine: Engine, max_tokens: int) -> None:
        self._engine, self._max_tokens = engine, max_tokens
        self._scores = getattr(engine, "scores", None)  # of a `Scorer`

    async def reference(self, prompt: Prompt) -> Reference:
        """The greedy answer to ``prompt``. Raises as ``Engine.generate``."""
        ids, ended = await self._answer(prompt)
        if ended and len(ids) < self._max_tokens:
            ids = (*ids, _STAND_IN)
        return Reference(ids, None if self._scores is None else await self._scores(prompt, ids))

    async def likeness(self, whole: Reference, prompt: Prompt) -> Likeness:
        """Of ``prompt``, which has other tokens, to ``whole``. Raises as ``Engine.generate``."""
        if self._scores is None or whole.scores is None:
            same = (await self.reference(prompt)).continuation == whole.continuation
            return Likeness(float(same), None, same)
        scores = await self._scores(prompt, whole.continuation)
        alike = scores.argmax(axis=1) == whole.scores.argmax(axis=1)
        apart = divergence(whole.scores, scores)
        return Likeness(float(alike.mean()), apart, bool(alike.all()))

    async def _answer(self, prompt: Prompt) -> tuple[tuple[int, ...], bool]:
        """The answer's tokens, and whether the model ended it."""
        ids: list[int] = []
        finish = None
        answer = self._engine.generate(prompt, GenerateParams(self._max_tokens))
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                ids += chunk.ids
                finish = chunk.finish
        return tuple(ids), finish == "stop"


def divergence(whole: F32, other: F32) -> float:
    """Mean over rows of KL(whole || other), both [M, V] logits; in nats, at least 0."""
    p, q = _log_softmax(whole), _log_softmax(other)
    rows = (np.exp(p) * (p - q)).sum(axis=1)
    return max(float(rows.mean()), 0.0)


def _log_softmax(logits: F32) -> npt.NDArray[np.float64]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return wide
