"""The decoder's graph: embeddings, positions and a cache in, logits and the longer cache out.

Inputs: ``inputs_embeds`` [B, L, width]; ``attention_mask`` [B, S] int64, 1 for the positions that
are real, which are the last ones of each row (S: cache and L together); ``position_ids`` int64,
[B, L], or [3, B, L] (time, height, width); ``logit_columns`` [C] int64, of the L columns those
whose logits are wanted; ``past_key_values.N.key`` and ``.value`` [B, kv heads, P, head_dim].

With sliding windows: ``key_positions`` [B, S] int64, in which they count. With options:
``visual_blocks`` [B, S] int64, places with the same number above 0 see each other, later ones, too;
``deepstack`` [N, B, L, width], added behind the first N layers.

Outputs: ``logits`` [B, C, vocab] and the ``present`` of each ``past_key_values``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto

from saccade_export.language_export.layers import LayerWriter, Reading, soft_cap
from saccade_export.language_export.numbers import Matrices
from saccade_export.language_export.rope import Rope
from saccade_export.language_export.shape import LanguageShape
from saccade_export.language_export.tensors import ModelTensors
from saccade_export.language_export.writer import GraphWriter, Port, WeightFile

NEVER = -1e9  # not -inf: a row of left padding would otherwise be NaN
TABLE = "embed_tokens"


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """``bidirectional``: with the input ``visual_blocks``; ``deepstack``: how many of its rows."""

    bidirectional: bool = False
    deepstack: int = 0


class DecoderWriter:
    """Writes one decoder. ``ropes``: by kind of layer."""

    def __init__(
        self,
        shape: LanguageShape,
        tensors: ModelTensors,
        ropes: Mapping[str, Rope],
        matrices: Matrices,
        options: DecoderOptions,
    ) -> None:
        self._shape = shape
        self._tensors = tensors
        self._ropes = ropes
        self._matrices = matrices
        self._options = options

    def write(self, path: Path, weights: WeightFile) -> None:
        """The graph at ``path``. The embedding's table must be in ``weights`` already."""
        g = GraphWriter(weights)
        x = "inputs_embeds"
        layers = LayerWriter(g, self._shape, self._tensors, self._matrices, self._reading(g))
        for index in range(self._shape.layers):
            x = layers.layer(x, index)
            if index < self._options.deepstack:
                rows = g.add("Gather", "deepstack", g.constant(np.array(index)), axis=0)
                x = g.add("Add", x, rows)
        wanted = g.add("Gather", x, "logit_columns", axis=1)
        self._head(g, layers.norm(wanted, "norm"))
        g.save(path, self._inputs(), self._outputs())

    def _reading(self, g: GraphWriter) -> Reading:
        shape = self._shape
        length = g.add("Shape", "inputs_embeds", start=1, end=2)
        total = g.add("Shape", "attention_mask", start=1, end=2)
        groups = g.constant([0, 0, shape.groups])
        return Reading(
            grouped=g.add("Concat", groups, length, g.constant([-1]), axis=0),
            rows=g.add("Concat", g.constant([0, 0, -1]), total, axis=0),
            turns={kind: self._turns(g, rope) for kind, rope in self._ropes.items()},
            masks=self._masks(g, length, total),
        )

    def _turns(self, g: GraphWriter, rope: Rope) -> tuple[str, str]:
        places = g.add("Cast", "position_ids", to=TensorProto.FLOAT)
        angles = g.add(
            "Mul", g.add("Unsqueeze", places, g.constant([-1])), g.constant(rope.frequencies)
        )
        if rope.rows is not None:
            # Each frequency's own row of the three: the others are multiplied with 0.
            own = (np.arange(3)[:, None] == rope.rows).astype(np.float32)[:, None, None]
            angles = g.add("Mul", angles, g.constant(own))
            angles = g.add("ReduceSum", angles, g.constant([0]), keepdims=0)
        angles = g.add("Unsqueeze", angles, g.constant([1]))
        cosine, sine = g.add("Cos", angles), g.add("Sin", angles)
        if rope.scale != 1.0:
            cosine, sine = (g.add("Mul", turn, g.constant(rope.scale)) for turn in (cosine, sine))
        return cosine, sine

    def _masks(self, g: GraphWriter, length: str, total: str) -> dict[int, str]:
        """By window, [B, 1, 1, L, S]: 0 where a query may look, else a large negative number."""
        zero, one = g.constant(np.array(0)), g.constant(np.array(1))
        totals = g.add("Squeeze", total, g.constant([0]))
        keys = g.add("Range", zero, totals, one)
        first = g.add("Sub", totals, g.add("Squeeze", length, g.constant([0])))
        queries = g.add("Unsqueeze", g.add("Range", first, totals, one), g.constant([1]))
        causal = g.add("LessOrEqual", keys, queries)
        real = g.add("Greater", g.add("Unsqueeze", "attention_mask", g.constant([1, 2, 3])), zero)
        together = self._together(g, first) if self._options.bidirectional else ""
        masks: dict[int, str] = {}
        for window in sorted(set(self._shape.windows)):
            seen = causal
            if window:
                seen = g.add("And", causal, self._within(g, first, window))
            if together:
                seen = g.add("Or", seen, together)
            allowed = g.add("And", seen, real)
            masks[window] = g.add("Where", allowed, g.constant(0.0), g.constant(NEVER))
        return masks

    @staticmethod
    def _within(g: GraphWriter, first: str, window: int) -> str:
        """[B, 1, 1, L, S]: the key is less than ``window`` positions before the query."""
        queries = g.add("Unsqueeze", _last(g, "key_positions", first), g.constant([1, 2, 4]))
        keys = g.add("Unsqueeze", "key_positions", g.constant([1, 2, 3]))
        return g.add("Less", g.add("Sub", queries, keys), g.constant(np.array(window)))

    @staticmethod
    def _together(g: GraphWriter, first: str) -> str:
        """[B, 1, 1, L, S]: query and key are of one block."""
        queries = g.add("Unsqueeze", _last(g, "visual_blocks", first), g.constant([1, 2, 4]))
        keys = g.add("Unsqueeze", "visual_blocks", g.constant([1, 2, 3]))
        some = g.add("Greater", queries, g.constant(np.array(0)))
        return g.add("And", g.add("Equal", queries, keys), some)

    def _head(self, g: GraphWriter, x: str) -> None:
        """Logits of x [B, C, width], by the embedding's table or a matrix of their own."""
        shape = self._shape
        own = self._tensors.head(shape.vocab, shape.width)
        if own is None:
            flat = g.add("Reshape", x, g.constant([-1, shape.width]))
            logits = self._matrices.head(g, flat, TABLE, (shape.vocab, shape.width))
        else:
            logits = self._matrices.multiply(g, x, "lm_head", own)
        logits = soft_cap(g, logits, shape.head_cap)
        batch = g.add("Shape", "inputs_embeds", start=0, end=1)
        size = g.add("Concat", batch, g.constant([-1, shape.vocab]), axis=0)
        g.add("Reshape", logits, size, out="logits")

    def _inputs(self) -> dict[str, Port]:
        width, whole = self._shape.width, TensorProto.INT64
        three = any(rope.rows is not None for rope in self._ropes.values())
        ports: dict[str, Port] = {
            "inputs_embeds": (TensorProto.FLOAT, ["batch", "length", width]),
            "attention_mask": (whole, ["batch", "total"]),
            "position_ids": (whole, [3, "batch", "length"] if three else ["batch", "length"]),
            "logit_columns": (whole, ["columns"]),
        }
        if any(self._shape.windows):
            ports["key_positions"] = (whole, ["batch", "total"])
        if self._options.bidirectional:
            ports["visual_blocks"] = (whole, ["batch", "total"])
        if self._options.deepstack:
            size: list[str | int] = [self._options.deepstack, "batch", "length", width]
            ports["deepstack"] = (TensorProto.FLOAT, size)
        return ports | self._cache("past_key_values", "past")

    def _outputs(self) -> dict[str, Port]:
        logits: Port = (TensorProto.FLOAT, ["batch", "columns", self._shape.vocab])
        return {"logits": logits} | self._cache("present", "total")

    def _cache(self, name: str, columns: str) -> dict[str, Port]:
        size: list[str | int] = ["batch", self._shape.kv_heads, columns, self._shape.head_dim]
        return {
            f"{name}.{index}.{part}": (TensorProto.FLOAT, size)
            for index in range(self._shape.layers)
            for part in ("key", "value")
        }


def _last(g: GraphWriter, name: str, first: str) -> str:
    """Of [B, S] the columns from ``first`` on: those of the L places that are read."""
    end, axis = g.constant([np.iinfo(np.int64).max]), g.constant([1])
    return g.add("Slice", name, g.add("Unsqueeze", first, g.constant([0])), end, axis)
