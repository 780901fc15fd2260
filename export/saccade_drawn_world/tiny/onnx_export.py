"""The tiny model's modules to ONNX files with the names that the bundle's contract gives them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from saccade_drawn_world.tiny.decoder_graph import Decoder, Embedding, Placing
from saccade_drawn_world.tiny.tiny_encoder import EncoderConfig
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_export import onnx_files


def encoder(seeing: nn.Module, config: EncoderConfig, path: Path) -> None:
    """Views uint8 [B, H, W, 3] -> features, saliency, keys."""
    views = torch.zeros(2, config.height, config.width, 3, dtype=torch.uint8)
    outputs = ("features", "saliency", "keys")
    onnx_files.write(
        seeing.float(),
        [views],
        path,
        ["views"],
        outputs,
        {n: {0: "batch"} for n in ("views", *outputs)},
    )


def projector(model: Language, places: int, path: Path, first: int = 0) -> None:
    """Features [K, D], ids, slots [K], boxes [K, 4], kinds [K] -> embeds [K, width]; ``places``:
    tokens of a view; ``first``: the place of the token with id 0.
    """
    k = 7
    dim = model.projector.up.in_features
    counting = torch.arange(k)
    inputs = [torch.randn(k, dim), counting % places, counting % 2, torch.rand(k, 4), counting % 3]
    names = ["features", "ids", "slots", "boxes", "kinds"]
    module = Placing(model.projector, model.names().detach().clone(), first)
    onnx_files.write(
        module, inputs, path, names, ["embeds"], {n: {0: "tokens"} for n in (*names, "embeds")}
    )


def embedding(model: Language, path: Path) -> None:
    """Token ids [B, L] -> embeds [B, L, width]."""
    table = model.llama.model.embed_tokens.weight.detach().clone()
    axes = {n: {0: "batch", 1: "length"} for n in ("input_ids", "embeds")}
    onnx_files.write(
        Embedding(table),
        [torch.zeros(1, 3, dtype=torch.int64)],
        path,
        ["input_ids"],
        ["embeds"],
        axes,
    )


def decoder(model: Language, path: Path) -> None:
    """Embeds, mask, positions and cache -> logits and the longer cache."""
    graph = Decoder(model.llama)
    batch, past, length = 2, 3, 4
    cache = [torch.randn(batch, graph.heads, past, graph.head_dim) for _ in range(2 * graph.layers)]
    inputs = [
        torch.randn(batch, length, model.config.width),
        torch.ones(batch, past + length, dtype=torch.int64),
        torch.arange(past, past + length).expand(batch, -1).contiguous(),
        *cache,
    ]
    before = [f"past_key_values.{i}.{n}" for i in range(graph.layers) for n in ("key", "value")]
    after = [f"present.{i}.{n}" for i in range(graph.layers) for n in ("key", "value")]
    names = ["inputs_embeds", "attention_mask", "position_ids", *before]
    axes = {
        "inputs_embeds": {0: "batch", 1: "length"},
        "attention_mask": {0: "batch", 1: "total"},
        "position_ids": {0: "batch", 1: "length"},
        "logits": {0: "batch", 1: "length"},
    }
    axes |= {n: {0: "batch", 2: "past"} for n in before} | {
        n: {0: "batch", 2: "total"} for n in after
    }
    onnx_files.write(graph, inputs, path, names, ["logits", *after], axes)
