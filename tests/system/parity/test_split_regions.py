"""Regions of interest: overview and crops are several pictures of one prompt, as text says."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
import torch

from saccade.spec import window_px
from saccade.turns import FrameReference, Question, Turn
from saccade.types import Frame, FrameTokens, Region
from saccade_cloud.engines.base import Prompt
from saccade_edge.detect import registry as detector_registry
from saccade_testing.parity import FAMILIES, SPLIT, STEPS, assert_same, picture, turn
from saccade_testing.reference_model import Asked as Whole
from saccade_testing.reference_model import Picture, ReferenceModel
from saccade_testing.split import GREEDY, Asked, SplitFamilies, ask_all

SHOWN = picture(240, 320)
REGIONS = [
    Region((20.0, 150.0, 110.0, 230.0), "car", 0.9),
    Region((200.0, 20.0, 300.0, 140.0), "bus", 0.8),
]


class FixedDetector:
    def find(self, frame: Frame, overview: object) -> list[Region]:
        return list(REGIONS)


@pytest.mark.parametrize("family", FAMILIES)
def test_overview_and_crops(
    split: SplitFamilies, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    detectors = cast("dict[str, object]", detector_registry.DETECTORS)
    monkeypatch.setitem(detectors, "fixed", lambda bundle, runtime: FixedDetector())
    reference = split.families.reference(family)
    frame = replace(split.encode(family, SHOWN, detector="fixed"), sequence=1)
    assert [view.kind for view in frame.views] == ["overview", "crop", "crop"]
    wholes: list[Whole] = []

    def expected(_: int, prompt: Prompt) -> list[int]:
        wholes.append(whole_of(split, family, frame, prompt))
        return reference.generate(wholes[0], STEPS)

    question = Question((Turn("user", (FrameReference(1), "what is in region 2? 猫")),), GREEDY)
    (said,) = ask_all(split, family, [Asked(question, (frame,))], expected)
    text = reference.whole.processor.tokenizer.decode(said.prompt.ids)
    assert text.index("egion 1") < text.index("egion 2")
    wanted = reference.prompt(wholes[0])
    moved = said.prompt.positions - wanted.positions
    assert (moved == moved[0, 0]).all()
    scores = reference.scores(wholes[0], said.expected)
    assert_same(said.told, said.expected, scores, SPLIT[torch.float32], reference.stops)


def whole_of(split: SplitFamilies, family: str, frame: FrameTokens, prompt: Prompt) -> Whole:
    """The overview and the crops as pictures, with the text that the prompt has.

    What the template makes of introductions is not the same in all families, so the text is the
    prompt's own; tests of the prompt builder compare it with the processors'.
    """
    reference: ReferenceModel = split.families.reference(family)
    pictures = [split.seen(family, cut(frame, view.window)) for view in frame.views]
    whole = reference.ask([turn("user", *pictures)], pictures)
    ids = torch.from_numpy(prompt.ids)[None]
    inputs = {**whole.inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    visual = (ids == reference.model.config.image_token_id).long()
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = visual
    if "token_type_ids" in inputs:
        inputs["token_type_ids"] = visual if reference.attention == "bidirectional" else visual * 0
    return Whole(inputs)


def cut(frame: FrameTokens, window: tuple[float, float, float, float]) -> Picture:
    top, left, height, width = window_px(frame.size, window)
    cropped: Picture = SHOWN[top : top + height, left : left + width].copy()
    return cropped
