"""Prompts of Qwen-VL, Gemma 3 and PaliGemma are, token for token, their own processors', and stand
where their own models put them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from saccade.question_rules import QuestionRules
from saccade.spec import PromptSpec
from saccade.turns import FrameReference, Generation, Question, Turn
from saccade.types import I32
from saccade_cloud.chat_template import ChatTemplate
from saccade_cloud.engines.base import Prompt
from saccade_cloud.prompt import PromptBuilder, PromptFiles
from saccade_cloud.visual_frame import VisualFrame, VisualImage
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import base
from saccade_testing import gemma_checkpoints, grid_checkpoints
from saccade_testing.checkpoints import make
from saccade_testing.whole_model import WholeModel

FAMILIES = (*grid_checkpoints.FAMILIES, *gemma_checkpoints.FAMILIES)
WIDTH = 48
SIZES = ((112, 168), (300, 200))
DIALOGUES = {
    "one picture": [Turn("user", (FrameReference(1), "What is there?"))],
    "two pictures, side by side": [
        Turn("user", (FrameReference(1), FrameReference(2), "Grüße aus Köln, 猫が二匹。"))
    ],
    "system, two turns, text between": [
        Turn("system", ("Be brief.",)),
        Turn("user", ("Before ", FrameReference(1), " between ", FrameReference(2), " and after")),
        Turn("assistant", ("a car",)),
        Turn("user", ("And now?",)),
    ],
}


@dataclass
class Family:
    """``whole``: the model as transformers' users run it."""

    adapter: Any
    whole: WholeModel
    files: PromptFiles

    @property
    def builder(self) -> PromptBuilder:
        return self.built_with(self.adapter.prompt())

    def built_with(self, spec: PromptSpec) -> PromptBuilder:
        return PromptBuilder(self.files, spec, QuestionRules(chars=4096))

    def pictures(self) -> list[Any]:
        """One in a size that the family's list has, for every frame."""
        rng = np.random.default_rng(3)
        geometry = self.adapter.geometry()
        sizes = [geometry.layout(size).pixels for size in SIZES]
        return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]

    def frames(self, kept: Sequence[I32 | None]) -> dict[int, VisualFrame]:
        """A frame of one image for each picture, with the tokens ``kept``, None for all."""
        made = {}
        for number, (picture, ids) in enumerate(zip(self.pictures(), kept, strict=True), 1):
            layout = self.adapter.geometry().layout(picture.shape[:2])
            places = np.arange(np.prod(layout.grid), dtype=np.int32) if ids is None else ids
            embeds = np.zeros((len(places), WIDTH), np.float32)
            image = VisualImage(layout, places, embeds, "overview", (0.0, 0.0, 1.0, 1.0))
            made[number] = VisualFrame((image,))
        return made


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Family:
    folder = make(request.param, tmp_path_factory.mktemp(request.param))
    checkpoint = Checkpoint(folder)
    adapter: Any = base.adapter(checkpoint)
    spec = adapter.prompt()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = ChatTemplate(adapter.template().encode(), spec.template_args)
    return Family(adapter, WholeModel(folder), PromptFiles(tokenizer, template, {}))


@pytest.fixture(params=DIALOGUES)
def turns(request: pytest.FixtureRequest) -> list[Turn]:
    return DIALOGUES[request.param]


def question(turns: Sequence[Turn]) -> Question:
    return Question(tuple(turns), Generation())


def inputs(family: Family, turns: Sequence[Turn]) -> dict[str, Any]:
    shown = [part.sequence for turn in turns for part in turn.content if not isinstance(part, str)]
    pictures = family.pictures()
    return family.whole.inputs([pictures[number - 1] for number in shown], turns)


def model_positions(family: Family, made: dict[str, Any]) -> tuple[Any, int]:
    """([1 | 3, N], of the first generated token)."""
    ids = made["input_ids"]
    if "image_grid_thw" not in made:
        return np.arange(ids.shape[1])[None], ids.shape[1]
    rows, delta = family.whole.model.model.get_rope_index(
        ids, made["mm_token_type_ids"], image_grid_thw=made["image_grid_thw"]
    )
    return rows[:, 0].numpy(), ids.shape[1] + int(delta)


def test_a_prompt_of_whole_pictures_is_the_processor_s(family: Family, turns: list[Turn]) -> None:
    made = inputs(family, turns)
    prompt = family.builder.build(question(turns), family.frames([None, None]))
    assert prompt.ids.tolist() == made["input_ids"][0].tolist()
    rows, following = model_positions(family, made)
    assert np.array_equal(prompt.positions, rows)
    assert prompt.next_position == following


def seeing(family: Family, made: dict[str, Any]) -> Any:
    """[N, N] which place the model lets attend to which, layers without a window."""
    count = made["input_ids"].shape[1]
    allowed = torch.tril(torch.ones(count, count, dtype=torch.bool))
    kinds = made.get("token_type_ids")
    if kinds is None:
        return allowed.numpy()
    if family.adapter.prompt().attention == "prefix":
        whole = kinds[0] == 0
        return (allowed | (whole[:, None] & whole[None])).numpy()
    image = kinds[0] == 1
    begins = image & ~torch.nn.functional.pad(image, (1, 0))[:-1]
    number = torch.where(image, begins.cumsum(0), -1)
    return (allowed | ((number[:, None] == number[None]) & image[None])).numpy()


def ours(prompt: Prompt) -> Any:
    """[N, N] what the prompt says about it."""
    count = len(prompt)
    allowed = (
        np.ones((count, count), bool) if prompt.prefix_attention else np.tri(count, dtype=bool)
    )
    for span in prompt.spans:
        if span.bidirectional:
            allowed[span.start : span.stop, span.start : span.stop] = True
    return allowed


def test_attention_is_the_model_s(family: Family, turns: list[Turn]) -> None:
    prompt = family.builder.build(question(turns), family.frames([None, None]))
    assert np.array_equal(ours(prompt), seeing(family, inputs(family, turns)))


def test_kept_tokens_stay_at_their_true_positions(family: Family, turns: list[Turn]) -> None:
    chosen: list[I32] = [np.array([0, 2, 3], np.int32), np.array([1], np.int32)]
    whole = family.builder.build(question(turns), family.frames([None, None]))
    pruned = family.builder.build(question(turns), family.frames(chosen))
    image = whole.ids == whole.ids[whole.spans[0].start]
    kept = np.ones(len(whole), bool)
    sizes = [int(np.prod(f.images[0].layout.grid)) for f in family.frames([None, None]).values()]
    places = np.flatnonzero(image)
    for number, start in enumerate(np.cumsum([0, *sizes])[:-1]):
        own = places[start : start + sizes[number]]
        if len(own):
            kept[np.delete(own, chosen[number])] = False
    assert np.array_equal(pruned.ids, whole.ids[kept])
    assert np.array_equal(pruned.positions, whole.positions[:, kept])
    assert pruned.next_position == whole.next_position


def test_regions_are_introduced_by_text(family: Family) -> None:
    frame = family.frames([None, None])
    overview, crop = frame[1].images[0], frame[2].images[0]
    crop = replace(crop, kind="crop", window=(0.0, 0.7, 0.3, 1.0), label="car")
    turns = [Turn("user", (FrameReference(1), "What is it?"))]
    prompt = family.builder.build(question(turns), {1: VisualFrame((overview, crop))})
    text = family.whole.processor.tokenizer.decode(prompt.ids)
    image = family.adapter.prompt().image
    first = image.opening or image.before
    before_image = "" if family.adapter.prompt().attention == "prefix" else first
    assert f"Region 1, car, lower left:{before_image}" in text
    assert prompt.visual == len(overview.ids) + len(crop.ids)


def test_a_merged_token_keeps_its_members_places_if_the_bundle_says_so(family: Family) -> None:
    spec = replace(family.adapter.prompt(), members=2)
    if spec.positions == "sequential":
        assert spec.problems() == ["members is 2, which needs positions of M-RoPE"]
        return
    assert not spec.problems()
    frame = family.frames([np.array([0, 5], np.int32), None])[1]
    owners = np.full(np.prod(frame.images[0].layout.grid), -1, np.int32)
    owners[[0, 1, 7, 5]] = 0, 0, 0, 5
    merged = VisualFrame((replace(frame.images[0], owners=owners),))
    builder = family.built_with(spec)
    prompt = builder.build(question(DIALOGUES["one picture"]), {1: merged})
    plain = family.builder.build(question(DIALOGUES["one picture"]), {1: frame})
    assert prompt.positions.shape == (6, len(plain))
    start = prompt.spans[0].start
    high, wide = frame.images[0].layout.grid[1:]
    origin = plain.positions[0, start]
    rows, columns = prompt.positions[2:4, start] - origin, prompt.positions[4:, start] - origin
    assert (rows.tolist(), columns.tolist()) == ([7 // wide, 0], [7 % wide, 1])
    texts = np.delete(np.arange(len(plain)), [start, start + 1])
    assert np.array_equal(prompt.positions[::2, texts], plain.positions[:, texts])
    assert high * wide > 7
