"""Teacher forcing: what a model thinks of the whole's answer when it reads other tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from saccade_calibration.teacher_forcing import TeacherForcing, divergence
from saccade_cloud.engines.base import (
    Capabilities,
    EngineLimits,
    GenerateParams,
    Prompt,
    TokenChunk,
    text_prompt,
)


class Unscored:
    """A real engine's answers without its scores, as one behind an HTTP endpoint has them."""

    limits = EngineLimits()
    capabilities = Capabilities(max_context=64)

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        yield TokenChunk(tuple(int(i) for i in prompt.ids[:2]), "", finish="stop")

    async def close(self) -> None:
        pass


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    p, q = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.25, 0.75], [0.9, 0.1]])
    expected = 0.5 * (0.5 * np.log(2) + 0.5 * np.log(2 / 3))
    logits = [np.asarray(np.log(x) + 7, np.float32) for x in (p, q)]
    assert divergence(*logits) == pytest.approx(expected, abs=1e-6)
    assert divergence(logits[0], logits[0]) == 0


@pytest.mark.parametrize(("ids", "same"), [([1, 2, 9], True), ([1, 3, 2], False)])
def test_an_engine_without_scores_is_judged_by_equal_answers(ids: list[int], same: bool) -> None:
    async def judged() -> tuple[float, float | None, bool]:
        judge = TeacherForcing(Unscored(), 4)
        whole = await judge.reference(text_prompt([1, 2, 3]))
        found = await judge.likeness(whole, text_prompt(ids))
        return found.agreement, found.divergence, found.same

    assert asyncio.run(judged()) == (float(same), None, same)
