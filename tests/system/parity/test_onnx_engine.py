"""The ONNX engine gives what the whole model gives, too, on the exported language model."""

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
from saccade_testing.reference_model import Asked, ReferenceModel, dropping


def assert_parity(families: Families, family: str, asked: list[Asked]) -> None:
    reference: ReferenceModel = families.reference(family)
    expected = [reference.generate(each, STEPS) for each in asked]
    told = run(families.onnx(family), [reference.prompt(each) for each in asked], expected)
    for each, ids, answer in zip(asked, expected, told, strict=True):
        assert_same(answer, ids, reference.scores(each, ids), ENGINE[torch.float32])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_language_model_gives_the_whole_models_tokens(
    families: Families, family: str
) -> None:
    asked = usual(families.reference(family))
    several = families.reference(family).ask(*regions())
    assert_parity(families, family, [*asked, several])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_language_model_gives_the_tokens_with_the_same_kept_tokens(
    families: Families, family: str
) -> None:
    reference = families.reference(family)
    generator = np.random.default_rng(3)
    asked = []
    for each in [*usual(reference)[:3], reference.ask(*regions())]:
        visual = reference.visual(each).places
        lost = generator.choice(visual, len(visual) * 3 // 4, replace=False)
        asked.append(dropping(each, lost))
    assert_parity(families, family, asked)
