"""A real language model, SmolLM2-135M, exported and run by the engine ``onnx``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from saccade.types import F32
from saccade_cloud.engines.base import EngineLimits, text_prompt
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import OnnxEngine, OnnxFiles
from saccade_export.language_export import LanguageFiles, MappedTensors, export_language
from saccade_export.language_export.numbers import Numbers
from saccade_testing.engine_contract import collect, ids_of, told
from saccade_testing.exported_files import model_files
from saccade_testing.smollm2 import CHAT, STOP, SmolLM2

STEPS = 32
QUESTIONS = [
    "What is the capital of France, and what is it known for?",
    "Name three kinds of vehicles.",
    "Wie heißt 'Katze' auf Englisch? 猫",
]


@pytest.fixture(scope="module")
def smollm2() -> Iterator[SmolLM2]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield SmolLM2()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def exported(smollm2: SmolLM2, tmp_path_factory: pytest.TempPathFactory) -> LanguageFiles:
    return export(smollm2, tmp_path_factory.mktemp("smollm2"), "f32")


def export(smollm2: SmolLM2, folder: Path, numbers: Numbers) -> LanguageFiles:
    return export_language(
        smollm2.config, MappedTensors(smollm2.model.state_dict()), folder, numbers
    )


def opened(smollm2: SmolLM2, files: LanguageFiles) -> OnnxEngine:
    embedding, decoder = model_files(files)
    return OnnxEngine(
        OnnxFiles(embedding, decoder, smollm2.tokenizer()),
        DecoderShape(files.layers, files.kv_heads, files.head_dim, files.width),
        stop=[STOP, "<|endoftext|>"],
        limits=EngineLimits(max_tokens=64, max_context=files.context),
    )


def prompts(smollm2: SmolLM2) -> list[list[int]]:
    tokenizer = smollm2.tokenizer()
    texts = [CHAT.format(question=question) for question in QUESTIONS]
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def by_transformers(smollm2: SmolLM2, ids: list[int]) -> tuple[list[int], F32]:
    """Greedy tokens, and the logits [STEPS, V] that they were taken from."""
    stop = smollm2.tokenizer().token_to_id(STOP)
    with torch.inference_mode():
        found = smollm2.model.generate(
            torch.tensor([ids]), max_new_tokens=STEPS, do_sample=False, eos_token_id=stop,
            pad_token_id=0, return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    logits = np.concatenate([step.numpy() for step in found.logits])
    return found.sequences[0, len(ids) :].tolist(), logits


@pytest.mark.timeout(600)
def test_tokens_and_logits_are_those_of_transformers(
    smollm2: SmolLM2, exported: LanguageFiles
) -> None:
    stop = smollm2.tokenizer().token_to_id(STOP)

    async def work(engine: OnnxEngine) -> None:
        for ids in prompts(smollm2):
            expected, wanted = by_transformers(smollm2, ids)
            answer = ids_of(await collect(engine, text_prompt(ids), STEPS))
            assert answer == [token for token in expected if token != stop]
            scores = await engine.scores(text_prompt(ids), expected)
            difference = float(np.abs(scores - wanted).max())
            print(f"{len(expected)} tokens, largest difference of logits {difference:.1e}")
            assert difference <= 1e-3

    asyncio.run(with_engine(opened(smollm2, exported), work))


@pytest.mark.timeout(600)
def test_it_says_what_it_should_and_how_fast(smollm2: SmolLM2, exported: LanguageFiles) -> None:
    async def work(engine: OnnxEngine) -> None:
        first = prompts(smollm2)[0]
        started = time.perf_counter()
        expected, _ = by_transformers(smollm2, first)
        rate = len(expected) / (time.perf_counter() - started)
        print(f"transformers: {rate:.0f} tokens a second")
        text, _ = told(await collect(engine, text_prompt(first), STEPS))
        assert text.startswith("The capital of France is Paris.")
        for together in (1, 8):
            started = time.perf_counter()
            answers = [collect(engine, text_prompt(first), STEPS) for _ in range(together)]
            chunks = await asyncio.gather(*answers)
            seconds = time.perf_counter() - started
            assert all(told(each)[0] == text for each in chunks)
            print(f"{together} at once: {together * STEPS / seconds:.0f} tokens a second")

    asyncio.run(with_engine(opened(smollm2, exported), work))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("numbers", "most", "size_mb"), [("f16", 1e-4, 280), ("int8", 0.02, 160)])
def test_smaller_numbers_change_little(
    smollm2: SmolLM2, numbers: Numbers, most: float, size_mb: int, tmp_path: Path
) -> None:
    """By the Kullback-Leibler divergence of the next token, over an answer of transformers."""
    ids = prompts(smollm2)[0]
    expected, wanted = by_transformers(smollm2, ids)
    files = export(smollm2, tmp_path, numbers)

    async def work(engine: OnnxEngine) -> None:
        started = time.perf_counter()
        scores = await engine.scores(text_prompt(ids), expected)
        rate = len(expected) / (time.perf_counter() - started)
        divergence = float(np.mean(divergences(wanted, scores)))
        size = files.weights.stat().st_size / 1e6
        print(f"{numbers}: {size:.0f} MB, divergence {divergence:.1e}, {rate:.0f} tokens a second")
        assert divergence < most
        assert size < size_mb

    asyncio.run(with_engine(opened(smollm2, files), work))


def divergences(wanted: F32, found: F32) -> npt.NDArray[np.float64]:
    """[N] of logits [N, V]."""
    p, q = _logs(wanted), _logs(found)
    return np.asarray((np.exp(p) * (p - q)).sum(-1))


def _logs(logits: F32) -> npt.NDArray[np.float64]:
    below = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(-1, keepdims=True)))


async def with_engine(engine: OnnxEngine, work: Callable[[OnnxEngine], Awaitable[None]]) -> None:
    try:
        await work(engine)
    finally:
        await engine.close()
