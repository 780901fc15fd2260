"""The bundle's language model: embedding and decoder graphs behind two functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from saccade.bundle_files import ModelFile
from saccade.types import F32
from saccade_cloud.engines import kv
from saccade_cloud.engines.kv import I64, Cache
from saccade_cloud.onnx_graph import Graph
from saccade_cloud.prompt import Prompt, Segment, TextSegment


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """What the manifest says about the decoder."""

    layers: int
    heads: int
    head_dim: int
    width: int


class Decoder:
    """Owned by one thread. Raises ``BundleError`` at opening, ``EngineError`` when a run fails."""

    def __init__(
        self, embedding: ModelFile, decoder: ModelFile, shape: DecoderShape, threads: int
    ) -> None:
        names = [f"{i}.{kind}" for i in range(shape.layers) for kind in ("key", "value")]
        self._past = [f"past_key_values.{name}" for name in names]
        self._shape = shape
        self._embedding = Graph(embedding, ("input_ids",), ("embeds",), threads)
        self._decoder = Graph(
            decoder,
            ("inputs_embeds", "attention_mask", "position_ids", *self._past),
            ("logits", *(f"present.{name}" for name in names)),
            threads,
        )

    def empty(self, rows: int) -> Cache:
        """The cache of ``rows`` rows that have seen nothing yet."""
        shape = self._shape
        return kv.empty(rows, layers=shape.layers, heads=shape.heads, head_dim=shape.head_dim)

    def embed_prompt(self, prompt: Prompt) -> F32:
        """[len(prompt), width] float32."""
        return np.concatenate([self._embed_segment(segment) for segment in prompt.segments])

    def embed_tokens(self, ids: I64) -> F32:
        """[B, L] int64 to [B, L, width] float32."""
        return self._embedding.run({"input_ids": ids})[0]

    def forward(self, embeds: F32, fresh: I64, past: Cache) -> tuple[F32, Cache]:
        """Read ``embeds`` [B, L, width] after ``past``; logits [B, V] of the last column.

        ``fresh``: [B] int64, how many of the L columns of each row are real (right-aligned); a
        row with padding among its columns must have no past, so that padding stays left.
        """
        lengths = past.lengths + fresh
        columns = past.columns + embeds.shape[1]
        place = np.arange(columns - embeds.shape[1], columns) - (columns - lengths[:, None])
        feeds = {
            "inputs_embeds": embeds,
            "attention_mask": kv.mask(lengths, columns),
            "position_ids": np.maximum(place, 0),
        }
        logits, *arrays = self._decoder.run(feeds | dict(zip(self._past, past.arrays, strict=True)))
        return np.asarray(logits[:, -1]), Cache(tuple(arrays), lengths)

    def _embed_segment(self, segment: Segment) -> F32:
        if isinstance(segment, TextSegment):
            return np.asarray(self.embed_tokens(np.array([segment.ids], np.int64))[0])
        return segment.embeds
