"""From a configuration and weights to the files of a bundle's language model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto
from transformers import PreTrainedConfig

from saccade.errors import BundleError
from saccade_export.language_export.decoder import TABLE, DecoderOptions, DecoderWriter
from saccade_export.language_export.numbers import Matrices, Numbers
from saccade_export.language_export.rope import read_rope
from saccade_export.language_export.shape import LanguageShape, read_shape
from saccade_export.language_export.tensors import ModelTensors, TensorSource
from saccade_export.language_export.writer import GraphWriter, WeightFile

EMBEDDING, DECODER, WEIGHTS = "embedding.onnx", "decoder.onnx", "language.weights"


@dataclass(frozen=True, slots=True)
class LanguageFiles:
    """What was written, and the sizes that a manifest states. Both graphs use ``weights``."""

    embedding: Path
    decoder: Path
    weights: Path
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    width: int
    vocab: int
    context: int


def export_language(
    config: PreTrainedConfig,
    source: TensorSource,
    folder: Path,
    numbers: Numbers = "f32",
    options: DecoderOptions | None = None,
) -> LanguageFiles:
    """Write the language model of ``config`` (``text_config`` of a vision-language model).

    ``numbers``: how matrices are stored; whatever they are, the graphs take and give float32.
    Raises ``BundleError`` for a configuration or weights that cannot be exported, ``OSError``
    where the folder cannot be written.
    """
    shape = read_shape(config)
    tensors, matrices = ModelTensors(source), Matrices(numbers)
    ropes = {kind: read_rope(config, kind, shape) for kind in sorted(set(shape.kinds))}
    options = options or DecoderOptions()
    if getattr(config, "use_bidirectional_attention", None) and not options.bidirectional:
        raise BundleError(
            f"the {config.model_type!r} model looks ahead: the decoder must be bidirectional"
        )
    if options.deepstack > shape.layers:
        raise BundleError(f"{options.deepstack} deepstack rows for {shape.layers} layers")
    folder.mkdir(parents=True, exist_ok=True)
    with WeightFile(folder / WEIGHTS) as weights:
        _write_embedding(folder / EMBEDDING, weights, shape, tensors, matrices)
        writer = DecoderWriter(shape, tensors, ropes, matrices, options)
        writer.write(folder / DECODER, weights)
    return LanguageFiles(
        folder / EMBEDDING,
        folder / DECODER,
        folder / WEIGHTS,
        layers=shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        width=shape.width,
        vocab=shape.vocab,
        context=shape.context,
    )


def _write_embedding(
    path: Path,
    weights: WeightFile,
    shape: LanguageShape,
    tensors: ModelTensors,
    matrices: Matrices,
) -> None:
    """``input_ids`` [B, L] int64 -> ``embeds`` [B, L, width] float32."""
    g = GraphWriter(weights)
    table = tensors.read(f"{TABLE}.weight", shape.vocab, shape.width)
    rows = matrices.look_up(g, "input_ids", TABLE, table)
    scale = float(np.sqrt(shape.width)) if shape.traits.scaled_embedding else 1.0
    g.add("Mul", rows, g.constant(scale), out="embeds")
    g.save(
        path,
        {"input_ids": (TensorProto.INT64, ["batch", "length"])},
        {"embeds": (TensorProto.FLOAT, ["batch", "length", shape.width])},
    )
