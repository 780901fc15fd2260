"""Split equals whole: pixels through edge, packet, gRPC and cloud give the whole model's tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from saccade.turns import FrameReference, Question, Turn
from saccade.types import FrameTokens
from saccade_testing.parity import (
    FAMILIES,
    SPLIT,
    STEPS,
    assert_same,
    picture,
    turn,
)
from saccade_testing.reference_model import Asked as Whole
from saccade_testing.reference_model import Picture
from saccade_testing.split import GREEDY, Asked, SplitFamilies, ask_all

QUESTION = "How many people are there? Grüße, 猫が二匹います。"


def frames(
    split: SplitFamilies, family: str, pictures: list[Picture], dtype: torch.dtype
) -> tuple[FrameTokens, ...]:
    encoded = (split.encode(family, p, images=len(pictures), dtype=dtype) for p in pictures)
    return tuple(replace(frame, sequence=n) for n, frame in enumerate(encoded, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["f32", "f16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_split_equals_whole(split: SplitFamilies, family: str, dtype: torch.dtype) -> None:
    reference = split.families.reference(family, dtype)
    cases = conversations(split, family)
    if dtype == torch.float16:  # slow on a CPU
        cases = cases[1::3]
    asked = [
        Asked(Question(sequenced(turns), GREEDY), frames(split, family, pictures, dtype))
        for turns, pictures in cases
    ]
    compare(split, family, asked, [reference.ask(*case) for case in cases], dtype)


def compare(
    split: SplitFamilies,
    family: str,
    asked: list[Asked],
    wholes: list[Whole],
    dtype: torch.dtype = torch.float32,
) -> None:
    """The same prompts, and the same answers."""
    reference = split.families.reference(family, dtype)
    said = ask_all(
        split, family, asked, lambda number, _: reference.generate(wholes[number], STEPS), dtype
    )
    for each, whole in zip(said, wholes, strict=True):
        wanted = reference.prompt(whole)
        assert each.prompt.ids.tolist() == wanted.ids.tolist()
        moved = each.prompt.positions - wanted.positions
        assert (moved == moved[0, 0]).all()  # PaliGemma's begin at 1: nothing turns on it
        scores = reference.scores(whole, each.expected)
        assert_same(each.told, each.expected, scores, SPLIT[dtype], reference.stops)


def conversations(split: SplitFamilies, family: str) -> list[tuple[list[Turn], list[Picture]]]:
    small, wide, tall = (
        split.seen(family, shown) for shown in (picture(40, 50), picture(60, 190), picture(170, 70))
    )
    return [
        ([turn("user", small, QUESTION)], [small]),
        ([turn("user", wide, QUESTION)], [wide]),
        ([turn("user", wide, "what is in region 1?")], [wide]),
        ([turn("user", tall, "red or blue?")], [tall]),
        ([turn("user", wide, "first", small, "second", QUESTION)], [wide, small]),
        (
            [
                turn("system", "answer in one word"),
                turn("user", wide, "what is it?"),
                turn("assistant", "a red car"),
                turn("user", "and how many?"),
            ],
            [wide],
        ),
    ]


def sequenced(turns: list[Turn]) -> tuple[Turn, ...]:
    """The frames numbered from 1 on, in their order."""
    count = 0
    numbered = []
    for each in turns:
        content: list[str | FrameReference] = []
        for part in each.content:
            count += isinstance(part, FrameReference)
            content.append(FrameReference(count) if isinstance(part, FrameReference) else part)
        numbered.append(Turn(each.role, tuple(content)))
    return tuple(numbered)
