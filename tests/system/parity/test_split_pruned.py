"""With pruned tokens, split equals the whole model with the same kept tokens at their places."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from saccade.turns import FrameReference, Question, Turn
from saccade_cloud.engines.base import Prompt
from saccade_testing.parity import FAMILIES, SPLIT, STEPS, assert_same, picture, turn
from saccade_testing.reference_model import Asked as Whole
from saccade_testing.reference_model import ReferenceModel, Visual, dropping
from saccade_testing.split import GREEDY, Asked, SplitFamilies, ask_all

TEXT = "what is it? Grüße 猫"
KEEPING = ("mmtok", "divprune", "random")
MERGING = ("pool2d",)
SHARE = 3  # one token in so many is kept


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_split_equals_the_whole_model_with_the_same_tokens(
    split: SplitFamilies, family: str
) -> None:
    reference = split.families.reference(family)
    shown = split.seen(family, picture(60, 130))
    whole = reference.ask([turn("user", shown, TEXT)], [shown])
    question = Question((Turn("user", (FrameReference(1), TEXT)),), GREEDY)
    visual = len(reference.visual(whole).places)
    asked, wholes = [], dict[int, Whole]()
    for method in (*KEEPING, *MERGING):
        frame = split.encode(family, shown, method=method, tokens=max(visual // SHARE, 1))
        asked.append(Asked(question, (replace(frame, sequence=1),)))

    def expected(number: int, prompt: Prompt) -> list[int]:
        merges = number >= len(KEEPING)
        wholes[number] = with_the_tokens_of(reference, whole, prompt, merges=merges)
        return reference.generate(wholes[number], STEPS)

    for number, said in enumerate(ask_all(split, family, asked, expected)):
        assert said.prompt.visual < visual
        wanted = reference.prompt(wholes[number])
        assert said.prompt.ids.tolist() == wanted.ids.tolist()
        for found, span in zip(said.prompt.spans, wanted.spans, strict=True):
            assert (found.start, len(found)) == (span.start, len(span))
            np.testing.assert_allclose(found.embeds, span.embeds, atol=1e-4)
        scores = reference.scores(wholes[number], said.expected)
        assert_same(said.told, said.expected, scores, SPLIT[torch.float32], reference.stops)


def with_the_tokens_of(
    reference: ReferenceModel, whole: Whole, prompt: Prompt, *, merges: bool
) -> Whole:
    """The whole model's prompt without what ``prompt`` has not, found by true positions.

    Where tokens are merged it is given the merged ones; which these are is for selection's tests.
    """
    rows, _ = reference.positions(whole)
    moved = int(rows[0, 0])  # PaliGemma counts from 1, prompts from 0
    place_of = {tuple(column): place for place, column in enumerate(rows.T.tolist())}
    kept = [place_of[tuple(column)] for column in (prompt.positions + moved).T.tolist()]
    pruned = dropping(whole, set(range(len(whole.ids))) - set(kept))
    if not merges:
        return pruned
    own = reference.visual(whole)
    row_of = {int(place): row for row, place in enumerate(own.places)}
    embeds, deepstack = own.embeds.copy(), own.deepstack
    deepstack = None if deepstack is None else deepstack.copy()
    for span in prompt.spans:
        rows_there = [row_of[place] for place in kept[span.start : span.stop]]
        embeds[rows_there] = span.embeds
        if deepstack is not None and span.deepstack is not None:
            deepstack[:, rows_there] = span.deepstack
    return replace(pruned, replaced=Visual(own.places, embeds, deepstack))
