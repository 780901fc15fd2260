"""The transformers engine gives what the whole model gives, from its own visual tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saccade.turns import Turn
from saccade_testing.parity import (
    FAMILIES,
    STEPS,
    Families,
    assert_same,
    picture,
    run,
    turn,
)
from saccade_testing.reference_model import Asked, Picture, ReferenceModel, dropping

QUESTION = "How many people are there? Grüße, 猫が二匹います。"


def usual(reference: ReferenceModel) -> list[Asked]:
    """Several sizes, two turns, a system prompt, several questions about one picture."""
    small, wide, tall = picture(40, 50), picture(60, 190), picture(170, 70)
    return [
        reference.ask([turn("user", small, QUESTION)], [small]),
        reference.ask([turn("user", wide, QUESTION)], [wide]),
        reference.ask([turn("user", wide, "what is in region 1?")], [wide]),
        reference.ask([turn("user", tall, "red or blue?")], [tall]),
        reference.ask(
            [
                turn("system", "answer in one word"),
                turn("user", wide, "what is it?"),
                turn("assistant", "a red car"),
                turn("user", "and how many?"),
            ],
            [wide],
        ),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["f32", "f16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_engine_gives_the_whole_models_tokens(
    families: Families, family: str, dtype: torch.dtype
) -> None:
    reference = families.reference(family, dtype)
    asked = usual(reference)[: 2 if dtype == torch.float16 else None]  # slow on a CPU
    expected = [reference.generate(each, STEPS) for each in asked]
    assert len({tuple(ids) for ids in expected}) == len(asked), "answers hardly depend on anything"
    told = run(families.engine(family, dtype), [reference.prompt(each) for each in asked], expected)
    for each, ids, answer in zip(asked, expected, told, strict=True):
        assert_same(answer, ids, reference.scores(each, ids), dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_engine_gives_the_tokens_of_the_whole_model_with_the_same_kept_tokens(
    families: Families, family: str
) -> None:
    reference = families.reference(family)
    generator = np.random.default_rng(3)
    asked = []
    for each in usual(reference):
        visual = reference.visual(each).places
        lost = generator.choice(visual, len(visual) * 3 // 4, replace=False)
        asked.append(dropping(each, lost))
    asked.append(dropping(asked[0], reference.visual(asked[0]).places[1:]))
    asked.append(dropping(asked[1], reference.visual(asked[1]).places[:-1]))
    expected = [reference.generate(each, STEPS) for each in asked]
    told = run(families.engine(family), [reference.prompt(each) for each in asked], expected)
    for each, ids, answer in zip(asked, expected, told, strict=True):
        assert_same(answer, ids, reference.scores(each, ids), torch.float32)


def regions() -> tuple[list[Turn], list[Picture]]:
    images = [picture(90, 120), picture(60, 60, 1), picture(130, 50, 2)]
    told = ("Whole picture:", images[0], "Region 1, car, lower left:", images[1])
    return [turn("user", *told, "Region 2, bus, top:", images[2], QUESTION)], images


@pytest.mark.parametrize("pruned", [False, True], ids=["all tokens", "half the tokens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_several_pictures_in_a_prompt(families: Families, family: str, pruned: bool) -> None:
    reference = families.reference(family)
    asked = reference.ask(*regions())
    if pruned:
        asked = dropping(asked, reference.visual(asked).places[::2])
    expected = reference.generate(asked, STEPS)
    (told,) = run(families.engine(family), [reference.prompt(asked)], [expected])
    assert_same(told, expected, reference.scores(asked, expected), torch.float32)
