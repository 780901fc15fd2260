"""Torch modules to ONNX files with the input and output names of the bundle's contract, and their
weights at half the size.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from saccade_drawn_world.tiny.decoder_graph import Decoder, Embedding, Placing
from saccade_drawn_world.tiny.tiny_encoder import EncoderConfig
from saccade_drawn_world.tiny.tiny_language import Language

OPSET = 18
HALVED_ELEMENTS = 1000  # tensors with more are halved; the others weigh nothing


def write(
    module: nn.Module,
    inputs: Sequence[Tensor],
    path: Path,
    names: Sequence[str],
    outputs: Sequence[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Export one module; ``axes`` names the dynamic dimensions of inputs and outputs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracer warnings about Python integers: all are sizes
        torch.onnx.export(
            module.eval(),
            tuple(inputs),
            str(path),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def encoder(seeing: nn.Module, config: EncoderConfig, path: Path) -> None:
    """Views uint8 [B, H, W, 3] -> features, saliency, keys."""
    views = torch.zeros(2, config.height, config.width, 3, dtype=torch.uint8)
    outputs = ("features", "saliency", "keys")
    write(
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
    write(module, inputs, path, names, ["embeds"], {n: {0: "tokens"} for n in (*names, "embeds")})


def embedding(model: Language, path: Path) -> None:
    """Token ids [B, L] -> embeds [B, L, width]."""
    table = model.llama.model.embed_tokens.weight.detach().clone()
    axes = {n: {0: "batch", 1: "length"} for n in ("input_ids", "embeds")}
    write(
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
    write(graph, inputs, path, names, ["logits", *after], axes)


def forget(path: Path, *keys: str) -> None:
    """Drop these entries of a file's metadata."""
    model = onnx.load(str(path))
    kept = [entry for entry in model.metadata_props if entry.key not in keys]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, str(path))


def halve(path: Path) -> None:
    """Store a file's large float32 weights as float16, for half the size; all is still computed in
    float32. ONNX Runtime casts the weights once, when it loads the file.
    """
    model = onnx.load(str(path))
    graph = model.graph
    fed = {port.name for port in graph.input}  # what a caller may replace stays what it is
    casts = []
    for weights in graph.initializer:
        half = None if weights.name in fed else _half(weights)
        if half is not None:
            whole = weights.data_type
            casts.append(helper.make_node("Cast", [half.name], [weights.name], to=whole))
            weights.CopyFrom(half)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _half(weights: onnx.TensorProto) -> onnx.TensorProto | None:
    """The tensor as float16 under another name; None where that gains nothing or overflows."""
    if weights.data_type != onnx.TensorProto.FLOAT:
        return None
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(weights).astype(np.float16)
    if values.size <= HALVED_ELEMENTS or not np.isfinite(values).all():
        return None
    return numpy_helper.from_array(values, f"{weights.name}.half")
