"""What a selection method keeps or merges: engine and whole model give the same of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saccade.selection import METHODS, select
from saccade.types import TokenGrid, TokenSet
from saccade_testing.parity import ENGINE, STEPS, Families, assert_same, picture, run, turn
from saccade_testing.reference_model import Asked, Visual, dropping

SHOWN = picture(100, 160)
BUDGET = 5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["llava", "qwen3-vl"])
def test_kept_and_merged_tokens(families: Families, family: str, method: str) -> None:
    reference = families.reference(family)
    asked = reference.ask([turn("user", SHOWN, "what is it? 猫")], [SHOWN])
    visual = reference.visual(asked)
    kept = selected(visual, grid_of(asked, len(visual.places)), method)
    assert 1 <= len(kept.ids) <= BUDGET
    pruned = with_only(asked, visual, kept)
    expected = reference.generate(pruned, STEPS // 4)
    (told,) = run(families.engine(family), [reference.prompt(pruned)], [expected], STEPS // 4)
    assert_same(told, expected, reference.scores(pruned, expected), ENGINE[torch.float32])


def selected(visual: Visual, grid: tuple[int, int, int], method: str) -> TokenSet:
    """As an edge does. Saliency, keys and text are of no model: only what is kept matters."""
    generator = np.random.default_rng(2)
    tokens, width = visual.embeds.shape
    saliency = generator.dirichlet(np.ones(tokens), (1, 2)).astype(np.float32)
    keys = generator.normal(size=(tokens, 8)).astype(np.float32)
    text = generator.normal(size=(3, width)).astype(np.float32)
    made = TokenGrid(visual.embeds, saliency, keys, grid)
    return select(made, BUDGET, method=method, seed=1, text=text)


def grid_of(asked: Asked, tokens: int) -> tuple[int, int, int]:
    if "image_grid_thw" in asked.inputs:
        _, height, width = asked.inputs["image_grid_thw"][0].tolist()
        return 1, height // 2, width // 2
    side = round(tokens**0.5)
    return 1, side, side


def with_only(asked: Asked, visual: Visual, kept: TokenSet) -> Asked:
    """Merged tokens have features of their own; deepstack rows are those of the kept place."""
    embeds = visual.embeds.copy()
    embeds[kept.ids] = kept.features
    changed = replace(asked, replaced=Visual(visual.places, embeds, visual.deepstack))
    return dropping(changed, np.delete(visual.places, kept.ids))
