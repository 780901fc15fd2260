"""The exported language model is the Hugging Face model, and packing changes no answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from transformers import LlamaForCausalLM

from saccade_drawn_world.crossing.scene_questions import Question
from saccade_drawn_world.tiny import onnx_export
from saccade_drawn_world.tiny.decoder_graph import Decoder
from saccade_drawn_world.tiny.tiny_language import Language, LanguageConfig
from saccade_drawn_world.tiny.tiny_tokenizer import build, slot_ids
from saccade_drawn_world.training.packing import BOS, attention_mask, pack

WORDS = ["what", "is", "a", "red", "blue", "car", "?", "answer", ":", "plate"]


@pytest.fixture(scope="module")
def language() -> Language:
    torch.manual_seed(3)
    words = build(WORDS, 2)
    slots = slot_ids(words, 2)
    config = LanguageConfig(vocab=words.get_vocab_size(), width=32, layers=2, heads=2, inner=48)
    return Language(config, dim=8, places=16, slot_words=slots).eval()


def _reference(llama: LlamaForCausalLM, embeds: torch.Tensor) -> np.ndarray:
    llama.set_attn_implementation("eager")
    with torch.no_grad():
        return np.asarray(llama(inputs_embeds=embeds).logits)


def test_the_exported_decoder_gives_the_logits_of_transformers(
    language: Language, tmp_path: Path
) -> None:
    path = tmp_path / "decoder.onnx"
    onnx_export.decoder(language, path)
    embeds = torch.randn(3, 11, 32)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = _feed(embeds.numpy(), language)
    expected = _reference(language.llama, embeds)
    np.testing.assert_allclose(_logits(session, feed), expected, atol=2e-5)


def test_a_cache_continues_where_the_prompt_stopped(language: Language, tmp_path: Path) -> None:
    path = tmp_path / "decoder.onnx"
    onnx_export.decoder(language, path)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    embeds = np.random.default_rng(0).normal(size=(1, 9, 32)).astype(np.float32)
    whole = _logits(session, _feed(embeds, language))
    names = [o.name for o in session.get_outputs()]
    first = dict(zip(names, session.run(names, _feed(embeds[:, :6], language)), strict=True))
    feed = {
        "inputs_embeds": embeds[:, 6:],
        "attention_mask": np.ones((1, 9), np.int64),
        "position_ids": np.arange(6, 9)[None],
        **{n.replace("present", "past_key_values"): v for n, v in first.items() if "present" in n},
    }
    np.testing.assert_allclose(_logits(session, feed), whole[:, 6:], atol=2e-5)


def test_left_padding_changes_no_logit(language: Language) -> None:
    graph = Decoder(language.llama)
    embeds = torch.randn(1, 5, 32)
    padded = torch.cat([torch.randn(1, 3, 32), embeds], 1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    cache = [torch.zeros(1, 2, 0, 16) for _ in range(4)]
    with torch.no_grad():
        alone = graph(embeds, mask[:, 3:], torch.arange(5)[None], *cache)[0]
        places = torch.tensor([[0, 0, 0, 0, 1, 2, 3, 4]])
        together = graph(padded, mask, places, *cache)[0]
    torch.testing.assert_close(together[:, 3:], alone, atol=1e-5, rtol=1e-5)


def test_questions_packed_into_one_row_are_answered_as_if_asked_alone(language: Language) -> None:
    words = build(WORDS, 2)
    questions = [Question("class", "what is vehicle 1 ?", "car"), Question("x", "a car ?", "red")]
    embed = language.llama.get_input_embeddings()
    prefix = embed(torch.tensor([[BOS, 5, 6, 7]]))

    def logits(chosen: list[Question]) -> torch.Tensor:
        rows = pack([chosen], words, 99)
        out = language.llama.model(
            inputs_embeds=torch.cat([prefix, embed(rows.ids)], 1),
            attention_mask=attention_mask(rows.segment, 4),
            position_ids=torch.cat([torch.arange(4)[None], rows.position + 4], 1),
            use_cache=False,
        )
        return torch.as_tensor(out.last_hidden_state[0, 4:])

    with torch.no_grad():
        together, alone = logits(questions), [logits([q]) for q in questions]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_labels_are_the_answer_and_its_end() -> None:
    words = build(WORDS, 2)
    rows = pack([[Question("class", "what is vehicle 1 ?", "red car")]], words, 99)
    asked = [i for i in rows.label[0].tolist() if i >= 0]
    assert words.decode(asked, skip_special_tokens=False) == "red car <eos>"


def test_a_plate_is_spelled_and_a_slot_is_one_token() -> None:
    words = build(WORDS, 2)
    assert words.encode("vehicle 2 plate 7KXM").tokens == [
        "vehicle 2", "plate", "7", "##K", "##X", "##M",
    ]  # fmt: skip
    assert words.decode(words.encode("a red car 7KXM").ids) == "a red car 7KXM"


def _logits(session: ort.InferenceSession, feed: dict[str, np.ndarray]) -> np.ndarray:
    return np.asarray(session.run(["logits"], feed)[0])


def _feed(embeds: np.ndarray, language: Language) -> dict[str, np.ndarray]:
    batch, length = embeds.shape[:2]
    config = language.config
    empty = np.zeros((batch, config.heads, 0, config.width // config.heads), np.float32)
    names = [f"past_key_values.{i}.{n}" for i in range(config.layers) for n in ("key", "value")]
    return {
        "inputs_embeds": embeds,
        "attention_mask": np.ones((batch, length), np.int64),
        "position_ids": np.tile(np.arange(length), (batch, 1)),
        **dict.fromkeys(names, empty),
    }
