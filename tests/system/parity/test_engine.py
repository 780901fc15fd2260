"""The transformers engine gives what the whole model gives, from its own visual tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saccade_testing.parity import (
    ENGINE,
    FAMILIES,
    STEPS,
    Families,
    assert_same,
    regions,
    run,
    usual,
)
from saccade_testing.reference_model import dropping


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
        assert_same(answer, ids, reference.scores(each, ids), ENGINE[dtype])


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
        assert_same(answer, ids, reference.scores(each, ids), ENGINE[torch.float32])


@pytest.mark.parametrize("pruned", [False, True], ids=["all tokens", "half the tokens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_several_pictures_in_a_prompt(families: Families, family: str, pruned: bool) -> None:
    reference = families.reference(family)
    asked = reference.ask(*regions())
    if pruned:
        asked = dropping(asked, reference.visual(asked).places[::2])
    expected = reference.generate(asked, STEPS)
    (told,) = run(families.engine(family), [reference.prompt(asked)], [expected])
    assert_same(told, expected, reference.scores(asked, expected), ENGINE[torch.float32])
