"""Whole models and engines of all families, pictures and questions for the parity tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from saccade.turns import FrameReference, Role, Turn
from saccade.types import F32
from saccade_cloud.engines.base import EngineLimits, GenerateParams, Prompt
from saccade_cloud.engines.batched import BatchedEngine
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import OnnxEngine, OnnxFiles
from saccade_cloud.engines.transformers_engine.engine import CheckpointModel, TransformersEngine
from saccade_export.checkpoint import Checkpoint
from saccade_export.language_export import (
    DecoderOptions,
    FileTensors,
    LanguageFiles,
    export_language,
)
from saccade_testing import checkpoints
from saccade_testing.exported_files import model_files
from saccade_testing.reference_model import Asked, Picture, ReferenceModel

STEPS = 32
QUESTION = "How many people are there? Grüße, 猫が二匹います。"
# Which families' visual tokens attend to each other, or prompts to the whole of them.
ATTENTION = {"gemma3": "bidirectional", "paligemma": "prefix"}
FAMILIES = tuple(checkpoints.FAMILIES)


@dataclass(frozen=True)
class Allowed:
    """Differences, as shares of the largest score. ``ties``: of scores that count as equal."""

    scores: float
    ties: float = 0.0


# The same visual tokens in both: only the language model is computed twice.
ENGINE = {torch.float32: Allowed(2e-5), torch.float16: Allowed(1e-2, ties=2e-3)}
# The vision half is an ONNX graph, in float32 also where the checkpoint is in half floats.
SPLIT = {torch.float32: Allowed(2e-4), torch.float16: Allowed(5e-2, ties=5e-2)}


@dataclass
class Families:
    """Opens each checkpoint once."""

    folder: Path
    _references: dict[tuple[str, torch.dtype], ReferenceModel] = field(default_factory=dict)
    _engines: dict[tuple[str, torch.dtype], CheckpointModel] = field(default_factory=dict)
    _exported: dict[str, LanguageFiles] = field(default_factory=dict)

    def checkpoint(self, family: str, dtype: torch.dtype = torch.float32) -> Path:
        folder = self.folder / f"{family}-{str(dtype).removeprefix('torch.')}"
        if not folder.exists():
            checkpoints.make(family, folder, dtype=dtype)
            _never_say_image(folder)
        return folder

    def reference(self, family: str, dtype: torch.dtype = torch.float32) -> ReferenceModel:
        if (family, dtype) not in self._references:
            attention = ATTENTION.get(family, "causal")
            reference = ReferenceModel(self.checkpoint(family, dtype), attention, dtype)
            self._references[family, dtype] = reference
        return self._references[family, dtype]

    def onnx(self, family: str) -> OnnxEngine:
        """A new ``onnx`` engine on the language model, which is exported once."""
        folder = self.checkpoint(family)
        if family not in self._exported:
            checkpoint = Checkpoint(folder)
            config = checkpoint.model_config
            rows = getattr(config.vision_config, "deepstack_visual_indexes", ())
            options = DecoderOptions(family in ATTENTION, len(rows))
            text, tensors = config.get_text_config(), FileTensors(checkpoint.files)
            self._exported[family] = export_language(
                text, tensors, self.folder / f"{family}-onnx", "f32", options
            )
        files = self._exported[family]
        embedding, decoder = model_files(files)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return OnnxEngine(
            OnnxFiles(embedding, decoder, tokenizer),
            DecoderShape(files.layers, files.kv_heads, files.head_dim, files.width),
            stop=(),
            limits=EngineLimits(max_tokens=2 * STEPS, max_context=4096),
        )

    def engine(self, family: str, dtype: torch.dtype = torch.float32) -> TransformersEngine:
        """A new engine, for one event loop. One at a time may run of a family."""
        folder = self.checkpoint(family, dtype)
        if (family, dtype) not in self._engines:
            self._engines[family, dtype] = CheckpointModel.open(folder)
        return TransformersEngine(
            self._engines[family, dtype],
            Tokenizer.from_file(str(folder / "tokenizer.json")),
            stop=(),
            limits=EngineLimits(max_tokens=2 * STEPS, max_context=4096),
        )


@dataclass(frozen=True, eq=False)
class Told:
    """What an engine made of a prompt. ``scores``: [M, V] of a given continuation."""

    ids: list[int]
    scores: F32


def run(
    engine: BatchedEngine,
    prompts: Sequence[Prompt],
    continuations: Sequence[list[int]],
    steps: int = STEPS,
) -> list[Told]:
    """All ``prompts`` at once: ``steps`` greedy tokens, and the scores of ``continuations``."""

    async def one(prompt: Prompt, continuation: list[int]) -> Told:
        ids: list[int] = []
        async with aclosing(engine.generate(prompt, GenerateParams(steps))) as chunks:
            async for chunk in chunks:
                ids += chunk.ids
        return Told(ids, await engine.scores(prompt, continuation))

    async def main() -> list[Told]:
        try:
            pairs = zip(prompts, continuations, strict=True)
            return await asyncio.gather(*(one(prompt, after) for prompt, after in pairs))
        finally:
            await engine.close()

    return asyncio.run(main())


def assert_same(
    told: Told,
    expected: list[int],
    scores: F32,
    allowed: Allowed,
    stops: Collection[int] = (),
) -> None:
    """The same scores and the same tokens, up to one of ``stops``. ``scores``: the whole model's.

    Where half floats take part the answers may part at a tie, and nowhere else: the order of
    additions decides there.
    """
    apart = np.abs(told.scores - scores).max() / np.abs(scores).max()
    assert apart <= allowed.scores, f"scores differ by {apart:.2g} of the largest"
    wanted = list(takewhile(lambda token: token not in stops, expected))
    for number, (found, token) in enumerate(zip_longest(told.ids, wanted)):
        if found != token:
            assert found is not None, f"the answer ends before token {number}"
            assert allowed.ties, f"token {number} is {found}, expected {token}"
            row, best = scores[number], expected[number]
            assert row[best] - row[found] <= allowed.ties * np.abs(row).max()
            return


def _never_say_image(folder: Path) -> None:
    """Scores of 0 for the tokens that stand for pictures: a random model might answer with one, and
    transformers would look for its picture.
    """
    config = json.loads((folder / "config.json").read_text())
    names = ("image_token_id", "image_token_index", "video_token_id", "video_token_index")
    silent = [config[name] for name in names if isinstance(config.get(name), int)]
    path = folder / "model.safetensors"
    tensors = load_file(path)
    heads = [name for name in tensors if name.endswith("lm_head.weight")]
    heads = heads or [name for name in tensors if name.endswith("embed_tokens.weight")]
    for name in heads:
        tensors[name][[token for token in silent if token < len(tensors[name])]] = 0
    save_file(tensors, path, {"format": "pt"})


def picture(height: int, width: int, seed: int = 0) -> Picture:
    """Coloured blocks with a little noise: something at every scale."""
    generator = np.random.default_rng([seed, height, width])
    coarse = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST))
    noise = generator.integers(-12, 13, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def turn(role: Role, *parts: str | Picture) -> Turn:
    """With frames where pictures are."""
    return Turn(role, tuple(p if isinstance(p, str) else FrameReference() for p in parts))


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


def regions() -> tuple[list[Turn], list[Picture]]:
    images = [picture(90, 120), picture(60, 60, 1), picture(130, 50, 2)]
    told = ("Whole picture:", images[0], "Region 1, car, lower left:", images[1])
    return [turn("user", *told, "Region 2, bus, top:", images[2], QUESTION)], images
