"""Exported language models give the logits of transformers, whatever their type."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saccade.errors import BundleError
from saccade.onnx_file import external_data
from saccade.types import F32
from saccade_cloud.engines.base import I64, VisualSpan
from saccade_cloud.engines.decoder import Decoder, DecoderShape
from saccade_cloud.engines.reading import Piece
from saccade_export.language_export import (
    DecoderOptions,
    FileTensors,
    LanguageFiles,
    MappedTensors,
    export_language,
)
from saccade_export.language_export.numbers import BLOCK, Numbers, quantise
from saccade_testing import tiny_languages
from saccade_testing.exported_files import model_files
from saccade_testing.tiny_languages import KV_HEADS, LAYERS, VOCAB, WIDTH, WINDOW

LENGTH = 19
IDS: I64 = np.random.default_rng(1).integers(0, VOCAB, LENGTH)


def export(
    model: Any, folder: Path, numbers: Numbers = "f32", options: DecoderOptions | None = None
) -> LanguageFiles:
    tensors = MappedTensors(model.state_dict())
    return export_language(model.config, tensors, folder, numbers, options)


def opened(files: LanguageFiles) -> Decoder:
    """The engine's own reader of such files."""
    embedding, decoder = model_files(files)
    shape = DecoderShape(files.layers, files.kv_heads, files.head_dim, files.width)
    return Decoder(embedding, decoder, shape, threads=1)


def logits_of(decoder: Decoder, *pieces: Piece) -> F32:
    """[pieces, V]: after each piece, read one after another."""
    cache, found = decoder.empty(1), []
    for piece in pieces:
        logits, cache = decoder.read([piece], cache)
        found.append(logits[0])
    return np.stack(found)


def text(start: int, stop: int) -> Piece:
    return Piece(IDS[start:stop], np.arange(start, stop)[None])


def expected(model: Any, **inputs: Any) -> F32:
    """[N, V] of transformers, without a cache."""
    with torch.no_grad():
        found = model(use_cache=False, **inputs)
        table = model.get_input_embeddings().weight
        logits = found.logits if hasattr(found, "logits") else found.last_hidden_state @ table.T
    return np.asarray(logits[0])


@pytest.mark.parametrize("kind", tiny_languages.TEXT)
def test_logits_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    model = tiny_languages.make(kind)
    decoder = opened(export(model, tmp_path))
    assert decoder.empty(1).arrays[0].shape[1] == KV_HEADS
    found = logits_of(decoder, text(0, 7), text(7, 8), text(8, LENGTH))
    wanted = expected(model, input_ids=torch.tensor(IDS[None]))
    np.testing.assert_allclose(found, wanted[[6, 7, LENGTH - 1]], atol=1e-4)
    assert np.abs(wanted[6] - wanted[7]).max() > 1, "the logits hardly depend on the text"


@pytest.mark.parametrize("kind", ["llama", "gemma2", "gemma3"])
def test_rows_of_different_length_are_read_as_each_alone(kind: str, tmp_path: Path) -> None:
    decoder = opened(export(tiny_languages.make(kind), tmp_path))
    together, cache = decoder.read([text(0, 5), text(3, 15)], decoder.empty(2))
    further, _ = decoder.read([text(5, 6), text(15, 16)], cache)
    for row, (start, stop) in enumerate([(0, 5), (3, 15)]):
        alone = logits_of(decoder, text(start, stop), text(stop, stop + 1))
        np.testing.assert_allclose([together[row], further[row]], alone, atol=1e-4)


@pytest.mark.parametrize("kind", tiny_languages.THREE_ROWS)
def test_three_rows_of_positions_turn_as_in_transformers(kind: str, tmp_path: Path) -> None:
    model = tiny_languages.make(kind)
    decoder = opened(export(model, tmp_path))
    assert decoder.capabilities(64).mrope
    places = np.sort(np.random.default_rng(2).integers(0, 40, (3, LENGTH)), axis=1)
    pieces = [Piece(IDS[a:b], places[:, a:b]) for a, b in ((0, 6), (6, LENGTH))]
    ids, positions = torch.tensor(IDS[None]), torch.tensor(places[:, None])
    wanted = expected(model, input_ids=ids, position_ids=positions)
    np.testing.assert_allclose(logits_of(decoder, *pieces), wanted[[5, -1]], atol=1e-4)
    other = expected(model, input_ids=ids, position_ids=torch.tensor(places[[1, 2, 0]][:, None]))
    assert np.abs(wanted - other).max() > 0.1, "the rows hardly matter"


def test_deepstack_rows_are_added_behind_the_first_layers(tmp_path: Path) -> None:
    model = tiny_languages.make("qwen3-vl")
    decoder = opened(export(model, tmp_path, options=DecoderOptions(deepstack=2)))
    assert decoder.capabilities(64).deepstack
    embeds, deepstack = _normal(5, WIDTH), _normal(2, 5, WIDTH)
    span = VisualSpan(4, embeds, deepstack)
    piece = Piece(IDS, np.tile(np.arange(LENGTH), (3, 1)), (span,))
    at = np.zeros((1, LENGTH), bool)
    at[0, 4:9] = True
    inputs = {
        "inputs_embeds": torch.tensor(_embedded(model, span)),
        "position_ids": torch.arange(LENGTH).expand(3, 1, -1),
        "visual_pos_masks": torch.tensor(at),
    }
    rows = [torch.tensor(row) for row in deepstack]
    wanted = expected(model, **inputs, deepstack_visual_embeds=rows)
    np.testing.assert_allclose(logits_of(decoder, piece)[0], wanted[-1], atol=1e-4)
    assert np.abs(wanted[-1] - expected(model, **inputs)[-1]).max() > 0.1


@pytest.mark.parametrize("cut", [0, 6])
def test_visual_tokens_of_a_block_see_each_other(cut: int, tmp_path: Path) -> None:
    """By Gemma 3's masks, built here: its windows have no effect inside a block. A block that is
    read again from its middle on is the same block.
    """
    model = tiny_languages.make("gemma3")
    decoder = opened(export(model, tmp_path, options=DecoderOptions(bidirectional=True)))
    assert decoder.capabilities(64).bidirectional
    span = VisualSpan(3, _normal(WINDOW + 3, WIDTH), bidirectional=True)
    piece = Piece(IDS, np.arange(LENGTH)[None], (span,))
    logits, cache = decoder.read([piece], decoder.empty(1))
    if cut:
        again = replace(span, start=0, embeds=span.embeds[cut - span.start :])
        rest = Piece(IDS[cut:], np.arange(cut, LENGTH)[None], (again,))
        logits, _ = decoder.read([rest], decoder.first(cache, cut))
    place = np.arange(LENGTH)
    causal = place[None] <= place[:, None]
    near = causal & (place[:, None] - place[None] < WINDOW)
    inside = (place >= span.start) & (place < span.stop)
    both = inside[None] & inside[:, None]
    masks = {"full_attention": causal | both, "sliding_attention": near | both}
    additive = {
        name: torch.tensor(np.where(mask, 0, -1e9)[None, None], dtype=torch.float32)
        for name, mask in masks.items()
    }
    embeds = torch.tensor(_embedded(model, span))
    wanted = expected(model, inputs_embeds=embeds, attention_mask=additive)[-1]
    np.testing.assert_allclose(logits[0], wanted, atol=1e-4)
    assert np.abs(wanted - expected(model, inputs_embeds=embeds)[-1]).max() > 0.01


def test_a_prompt_may_see_the_whole_of_itself(tmp_path: Path) -> None:
    model = tiny_languages.make("gemma")
    decoder = opened(export(model, tmp_path, options=DecoderOptions(bidirectional=True)))
    assert decoder.capabilities(64).prefix
    piece = Piece(IDS[:-1], np.arange(LENGTH - 1)[None], prefix_attention=True)
    found = logits_of(decoder, piece, text(LENGTH - 1, LENGTH))
    mask = np.tril(np.ones((LENGTH, LENGTH), bool))
    mask[:-1, :-1] = True
    additive = torch.tensor(np.where(mask, 0, -1e9)[None, None], dtype=torch.float32)
    wanted = expected(model, input_ids=torch.tensor(IDS[None]), attention_mask=additive)
    np.testing.assert_allclose(found, wanted[-2:], atol=1e-4)


def test_a_window_counts_in_positions_when_tokens_were_pruned(tmp_path: Path) -> None:
    """As in the whole model with the dropped tokens masked out."""
    model = tiny_languages.make("gemma2")
    decoder = opened(export(model, tmp_path))
    kept = np.array([0, 1, 2, 5, 9, 10, 14, 17, 18])
    found = logits_of(decoder, Piece(IDS[kept], kept[None]))
    mask = torch.zeros(1, LENGTH, dtype=torch.int64)
    mask[0, kept] = 1
    wanted = expected(model, input_ids=torch.tensor(IDS[None]), attention_mask=mask)
    np.testing.assert_allclose(found[0], wanted[-1], atol=1e-4)


@pytest.mark.parametrize(("numbers", "most", "size"), [("f16", 0.05, 0.55), ("int8", 1.5, 0.35)])
@pytest.mark.parametrize("kind", ["llama", "llama, tied, llama3 rope", "gemma3"])
def test_smaller_numbers_are_smaller_and_close(
    kind: str, numbers: Numbers, most: float, size: float, tmp_path: Path
) -> None:
    """Random weights amplify rounding; a trained model's logits move far less."""
    model = tiny_languages.make(kind)
    whole, small = export(model, tmp_path / "f32"), export(model, tmp_path / "small", numbers)
    wanted = expected(model, input_ids=torch.tensor(IDS[None]))
    ends = [text(a, a + 1) for a in range(LENGTH)]
    found = logits_of(opened(small), *ends)
    assert 0 < np.abs(found - wanted).max() < most
    assert (found.argmax(-1) == wanted.argmax(-1)).mean() > 0.8
    assert _numbers_bytes(small) < size * _numbers_bytes(whole)


def test_a_tied_table_is_stored_once(tmp_path: Path) -> None:
    tied = export(tiny_languages.make("llama, tied, llama3 rope"), tmp_path / "tied")
    own = export(tiny_languages.make("llama"), tmp_path / "own")
    assert _numbers_bytes(own) - _numbers_bytes(tied) == VOCAB * WIDTH * 4


def test_integers_of_a_block_share_a_scale_and_none_is_off_by_more_than_half_a_step() -> None:
    matrix = _normal(3, 2 * BLOCK + 5)
    integers, scales = quantise(matrix)
    assert integers.shape == (3, 3, BLOCK)
    assert scales.shape == (3, 3)
    values = ((integers.astype(np.float32) - 128) * scales[..., None]).reshape(3, -1)
    half = np.repeat(scales, BLOCK, axis=1)[:, : matrix.shape[1]] / 2
    assert (np.abs(values[:, : matrix.shape[1]] - matrix) <= half * 1.001).all()
    assert not quantise(np.zeros((2, BLOCK), np.float32))[1].any()


def test_a_checkpoint_in_bfloat16_and_in_shards_is_read_tensor_by_tensor(tmp_path: Path) -> None:
    """Also with the names that it has inside a vision-language model."""
    model = tiny_languages.make("qwen2")
    halves = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    model.load_state_dict(halves)
    named = {n.replace("model.", "model.language_model.", 1): t for n, t in halves.items()}
    named["model.visual.layers.0.input_layernorm.weight"] = torch.ones(5)
    shards = [dict(list(named.items())[i::2]) for i in range(2)]
    files: dict[str, Path] = {}
    for number, shard in enumerate(shards):
        path = tmp_path / f"model-{number}.safetensors"
        save_file(shard, path)
        files |= dict.fromkeys(shard, path)
    written = export_language(model.config, FileTensors(files), tmp_path / "out")
    wanted = expected(model, input_ids=torch.tensor(IDS[None]))[-1]
    found = logits_of(opened(written), text(0, LENGTH))[0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


class TestRefusals:
    def refused(self, match: str, kind: str = "llama", **changed: Any) -> None:
        model = tiny_languages.make(kind)
        for name, value in changed.items():
            setattr(model.config, name, value)
        with pytest.raises(BundleError, match=match):
            export(model, Path("/nonexistent"))

    def test_of_a_type_that_is_not_known(self) -> None:
        model = tiny_languages.make("llama")
        model.config.model_type = "opt"
        with pytest.raises(BundleError, match="type 'opt' cannot be exported, only gemma, "):
            export(model, Path("/nonexistent"))

    def test_of_rotary_embeddings_that_change_with_the_length(self) -> None:
        scaled = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
        self.refused("type 'dynamic' cannot be exported", rope_parameters=scaled)

    def test_of_rotary_embeddings_of_a_part_of_the_head(self) -> None:
        part = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}
        self.refused("a part of the head", rope_parameters=part)

    def test_of_sections_that_do_not_fit(self) -> None:
        stated = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 1]}
        self.refused(r"\[1, 1, 1\] does not split 4", "qwen2-vl", rope_parameters=stated)

    def test_of_heads_that_cannot_be_shared(self) -> None:
        self.refused("4 heads cannot share 3", num_key_value_heads=3)

    def test_of_an_activation_that_is_not_known(self) -> None:
        self.refused("activation 'relu'", hidden_act="relu")

    def test_of_layers_of_another_kind(self) -> None:
        kinds = ["full_attention", "linear_attention", "full_attention"]
        self.refused("'linear_attention' cannot", "qwen3", layer_types=kinds)

    def test_of_a_model_that_looks_ahead_in_a_decoder_that_cannot(self) -> None:
        self.refused("'gemma' model looks", "gemma", use_bidirectional_attention=True)

    def test_of_a_tensor_that_is_missing_or_has_another_shape(self, tmp_path: Path) -> None:
        model = tiny_languages.make("llama")
        tensors = model.state_dict()
        cut = {**tensors, "model.layers.1.mlp.up_proj.weight": torch.zeros(48, 31)}
        with pytest.raises(BundleError, match=r"up_proj.weight has the shape \(48, 31\)"):
            export_language(model.config, MappedTensors(cut), tmp_path)
        del tensors["model.layers.2.mlp.up_proj.weight"]
        with pytest.raises(BundleError, match=r"no tensor 'model.layers.2.mlp.up_proj.weight'"):
            export_language(model.config, MappedTensors(tensors), tmp_path)
        with pytest.raises(BundleError, match="no language model"):
            export_language(model.config, MappedTensors({}), tmp_path)

    def test_of_more_deepstack_rows_than_layers(self) -> None:
        options = DecoderOptions(deepstack=LAYERS + 1)
        with pytest.raises(BundleError, match=f"{LAYERS + 1} deepstack rows for {LAYERS} layers"):
            export(tiny_languages.make("qwen3-vl"), Path("/nonexistent"), options=options)


def test_a_graph_with_another_cache_than_stated_is_a_bundle_error(tmp_path: Path) -> None:
    files = export(tiny_languages.make("llama"), tmp_path)
    with pytest.raises(BundleError, match=r"key' of \['batch', 2, .* says 4 in dimension 1"):
        opened(replace(files, kv_heads=4))
    with pytest.raises(BundleError, match="says 33 in dimension 2"):
        opened(replace(files, width=33))


def _embedded(model: Any, span: VisualSpan) -> F32:
    """[1, N, width]: the text's vectors, and the span's at its places."""
    with torch.no_grad():
        rows: F32 = model.get_input_embeddings()(torch.tensor(IDS[None])).numpy().copy()
    rows[0, span.start : span.stop] = span.embeds
    return rows


def _normal(*shape: int) -> F32:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def _numbers_bytes(files: LanguageFiles) -> int:
    """Of all weights, each once."""
    graphs = (files.embedding, files.decoder)
    pieces = {piece for path in graphs for piece in external_data(path.read_bytes(), path.name)}
    return sum(piece.length or 0 for piece in pieces)
