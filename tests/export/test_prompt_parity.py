"""A prompt with everything kept is what the family's own processor writes, id for id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tokenizers import Tokenizer

from saccade.question_rules import QuestionRules
from saccade.spec import DynamicGrid
from saccade.turns import FrameReference, Question, Turn
from saccade_cloud.chat_template import ChatTemplate
from saccade_cloud.prompt import PromptBuilder, PromptFiles
from saccade_cloud.visual_frame import VisualFrame, VisualImage
from saccade_export.checkpoint import Checkpoint
from saccade_export.families.base import FamilyAdapter, adapter
from saccade_testing import checkpoints
from saccade_testing.checkpoint_parts import processor

WIDTH = 4
SYSTEM = Turn("system", ("Answer in one word.",))
FIRST, SECOND = FrameReference(1), FrameReference(2)
QUESTIONS = {
    "one picture": (Turn("user", (FIRST, "What is this? é 日本 {x}")),),
    "text first": (Turn("user", ("FrameResult: ", FIRST, " and say.")),),
    "two turns": (
        Turn("user", (FIRST, "What is this?")),
        Turn("assistant", ("A dog.",)),
        Turn("user", ("Sure?\nYes or no",)),
    ),
    "two pictures": (Turn("user", (FIRST, SECOND, "Compare.")),),
    "system": (SYSTEM, Turn("user", (FIRST, "What is this?"))),
}
SIZES = {"wide": (60, 130), "tall": (200, 64), "square": (96, 96), "tiny": (9, 14)}


class Family:
    """A checkpoint's own processor, and what the bundle's prompt builder makes."""

    def __init__(self, folder: Path) -> None:
        self.processor: Any = processor(folder)
        self.adapter: FamilyAdapter = adapter(Checkpoint(folder))
        spec = self.adapter.prompt()
        files = PromptFiles(
            Tokenizer.from_file(str(folder / "tokenizer.json")),
            ChatTemplate(self.adapter.template().encode(), spec.template_args),
            {name: np.zeros(WIDTH, np.float32) for name in spec.vectors},
        )
        self.builder = PromptBuilder(files, spec, QuestionRules(10_000))
        self.geometry = self.adapter.geometry()

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """A family that has a list of sizes gets one of them: it takes others by rounding."""
        if isinstance(self.geometry, DynamicGrid):
            return self.geometry.layout(size).pixels
        return size

    def theirs(self, sizes: list[tuple[int, int]], turns: tuple[Turn, ...]) -> list[int]:
        pictures = iter([Image.new("RGB", (width, height)) for height, width in sizes])
        if not self.processor.chat_template:
            text = "\n".join(turn.text for turn in turns)
            token = self.processor.image_token * len(sizes)
            made = self.processor(images=[list(pictures)], text=token + text)
            return [int(i) for i in np.array(made["input_ids"])[0]]
        messages = [
            {
                "role": turn.role,
                "content": [
                    {"type": "text", "text": part}
                    if isinstance(part, str)
                    else {"type": "image", "image": next(pictures)}
                    for part in turn.content
                ],
            }
            for turn in turns
        ]
        made = self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="np", processor_kwargs={},
        )  # fmt: skip
        return [int(i) for i in made["input_ids"][0]]

    def ours(self, sizes: list[tuple[int, int]], turns: tuple[Turn, ...]) -> list[int]:
        frames = {n: self.frame(size, len(sizes)) for n, size in enumerate(sizes, 1)}
        prompt = self.builder.build(Question(turns), frames)
        assert prompt.visual == sum(len(span) for span in prompt.spans)
        if len(prompt.positions) == 1:  # nothing is pruned, so nothing is left out
            assert prompt.positions[0].tolist() == list(range(len(prompt)))
        return [int(i) for i in prompt.ids]

    def frame(self, size: tuple[int, int], images: int) -> VisualFrame:
        layout = self.geometry.layout(size, images)
        ids = layout.visible()
        embeds = np.zeros((len(ids), WIDTH), np.float32)
        return VisualFrame((VisualImage(layout, ids, embeds, "overview", (0.0, 0.0, 1.0, 1.0)),))


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Family]:
    return {}


def opened(name: str, families: dict[str, Family], factory: pytest.TempPathFactory) -> Family:
    if name not in families:
        folder = factory.mktemp("checkpoints") / name
        checkpoints.make(name, folder)
        families[name] = Family(folder)
    return families[name]


@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("name", checkpoints.FAMILIES)
def test_a_whole_prompt_is_the_processors(
    name: str, asked: str, families: dict[str, Family], tmp_path_factory: pytest.TempPathFactory
) -> None:
    family, turns = opened(name, families, tmp_path_factory), QUESTIONS[asked]
    if name == "paligemma" and asked not in ("one picture", "two pictures"):
        pytest.skip("PaliGemma was trained for one question, without a dialogue")
    for pair in (("wide", "square"), ("tall", "tiny")):
        sizes = [family.size(SIZES[one]) for one in pair]
        sizes = sizes[: 2 if asked == "two pictures" else 1]
        assert family.ours(sizes, turns) == family.theirs(sizes, turns)
