"""One layer of a Llama-like decoder, node by node: norms, attention with a cache, feed-forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saccade_export.language_export.numbers import Matrices
from saccade_export.language_export.shape import Activation, LanguageShape
from saccade_export.language_export.tensors import ModelTensors
from saccade_export.language_export.writer import GraphWriter

GELU_SCALE, GELU_CUBE = float(np.sqrt(2 / np.pi)), 0.044715  # Hendrycks and Gimpel, 2016


@dataclass(frozen=True, slots=True)
class Reading:
    """Names of what all layers of a graph share.

    ``grouped`` and ``rows``: shapes of attention scores, [B, kv heads, group, L, S] and
    [B, kv heads, group * L, S]. ``turns``: by kind of layer, cosine and sine of the
    positions, [B, 1, L, head_dim / 2]. ``masks``: by window, [B, 1, 1, L, S], added to the scores.
    """

    grouped: str
    rows: str
    turns: Mapping[str, tuple[str, str]]
    masks: Mapping[int, str]


class LayerWriter:
    """Writes layers into ``g``; each takes and gives the name of x [B, L, width]."""

    def __init__(
        self,
        g: GraphWriter,
        shape: LanguageShape,
        tensors: ModelTensors,
        matrices: Matrices,
        reading: Reading,
    ) -> None:
        self._g = g
        self._shape = shape
        self._tensors = tensors
        self._matrices = matrices
        self._reading = reading

    def layer(self, x: str, index: int) -> str:
        """Layer ``index``. Gemma 2 and 3 have a norm before and after each half, others before."""
        name, g = f"layers.{index}", self._g
        sandwich = self._tensors.has(f"{name}.pre_feedforward_layernorm.weight")
        mixed = self._attention(self.norm(x, f"{name}.input_layernorm"), index)
        if sandwich:
            mixed = self.norm(mixed, f"{name}.post_attention_layernorm")
        x = g.add("Add", x, mixed)
        before = "pre_feedforward_layernorm" if sandwich else "post_attention_layernorm"
        fed = self._feed_forward(self.norm(x, f"{name}.{before}"), name)
        if sandwich:
            fed = self.norm(fed, f"{name}.post_feedforward_layernorm")
        return g.add("Add", x, fed)

    def norm(self, x: str, name: str, width: int = 0) -> str:
        """Root mean square norm over the last dimension. In ONNX Runtime these nodes become one."""
        g, shape = self._g, self._shape
        weight = self._tensors.read(f"{name}.weight", width or shape.width)
        mean = g.add("ReduceMean", g.add("Pow", x, g.constant(2.0)), g.constant([-1]), keepdims=1)
        root = g.add("Sqrt", g.add("Add", mean, g.constant(shape.eps)))
        stored = g.weight(f"{name}.weight", weight + np.float32(shape.traits.norm_offset))
        return g.add("Mul", g.add("Div", x, root), stored)

    def _attention(self, x: str, index: int) -> str:
        g, shape, name = self._g, self._shape, f"layers.{index}.self_attn"
        query, key, value = self._query_key_value(x, index)
        keys, values = (
            g.add("Concat", f"past_key_values.{index}.{n}", x, out=f"present.{index}.{n}", axis=2)
            for n, x in (("key", key), ("value", value))
        )
        # The query heads that share a key head are rows of one product.
        query = g.add("Mul", query, g.constant(shape.score_scale))
        query = g.add("Reshape", query, g.constant([0, shape.kv_heads, -1, shape.head_dim]))
        scores = g.add("MatMul", query, g.add("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = soft_cap(g, scores, shape.score_cap)
        masked = g.add(
            "Add",
            g.add("Reshape", scores, self._reading.grouped),
            self._reading.masks[shape.windows[index]],
        )
        weights = g.add("Reshape", g.add("Softmax", masked, axis=-1), self._reading.rows)
        mixed = g.add("MatMul", weights, values)
        heads = g.add("Reshape", mixed, g.constant([0, shape.heads, -1, shape.head_dim]))
        flat = g.add(
            "Reshape",
            g.add("Transpose", heads, perm=[0, 2, 1, 3]),
            g.constant([0, 0, shape.heads * shape.head_dim]),
        )
        return self._linear(flat, [f"{name}.o_proj"], [shape.width], shape.heads * shape.head_dim)

    def _query_key_value(self, x: str, index: int) -> tuple[str, str, str]:
        """[B, heads, L, head_dim], and with key and value heads twice; turned, not yet scaled."""
        g, shape, name = self._g, self._shape, f"layers.{index}.self_attn"
        counts = [shape.heads, shape.kv_heads, shape.kv_heads]
        widths = [count * shape.head_dim for count in counts]
        names = [f"{name}.{part}_proj" for part in "qkv"]
        joined = self._linear(x, names, widths, shape.width)
        parts = g.split("Split", joined, g.constant(widths), outs=["", "", ""], axis=-1)
        split = [
            g.add("Reshape", part, g.constant([0, 0, count, shape.head_dim]))
            for part, count in zip(parts, counts, strict=True)
        ]
        for place, part in enumerate("qk"):
            if self._tensors.has(f"{name}.{part}_norm.weight"):
                split[place] = self.norm(split[place], f"{name}.{part}_norm", shape.head_dim)
        query, key, value = (g.add("Transpose", part, perm=[0, 2, 1, 3]) for part in split)
        turns = self._reading.turns[shape.kinds[index]]
        return self._turn(query, *turns), self._turn(key, *turns), value

    def _turn(self, x: str, cosine: str, sine: str) -> str:
        """Rotary embedding of x [B, H, L, head_dim], whose halves are turned against each other."""
        g, half = self._g, self._shape.head_dim // 2
        first, second = g.split("Split", x, g.constant([half, half]), outs=["", ""], axis=-1)
        return g.add(
            "Concat",
            g.add("Sub", g.add("Mul", first, cosine), g.add("Mul", second, sine)),
            g.add("Add", g.add("Mul", second, cosine), g.add("Mul", first, sine)),
            axis=-1,
        )

    def _feed_forward(self, x: str, name: str) -> str:
        g, shape = self._g, self._shape
        names = [f"{name}.mlp.gate_proj", f"{name}.mlp.up_proj"]
        joined = self._linear(x, names, [shape.inner, shape.inner], shape.width)
        widths = g.constant([shape.inner, shape.inner])
        gate, up = g.split("Split", joined, widths, outs=["", ""], axis=-1)
        mixed = g.add("Mul", activate(g, gate, shape.activation), up)
        return self._linear(mixed, [f"{name}.mlp.down_proj"], [shape.width], shape.inner)

    def _linear(self, x: str, names: Sequence[str], outputs: Sequence[int], inputs: int) -> str:
        """The linear maps ``names`` of the same x in one product, their outputs side by side."""
        pairs = list(zip(names, outputs, strict=True))
        matrix = [self._tensors.read(f"{name}.weight", out, inputs) for name, out in pairs]
        joined = matrix[0] if len(matrix) == 1 else np.concatenate(matrix)
        y = self._matrices.multiply(self._g, x, ".".join(names), joined)
        if not self._tensors.has(f"{names[0]}.bias"):
            return y
        bias = np.concatenate([self._tensors.read(f"{name}.bias", out) for name, out in pairs])
        return self._g.add("Add", y, self._g.weight(f"{names[0]}.bias", bias))


def soft_cap(g: GraphWriter, x: str, cap: float) -> str:
    """Within -cap..cap, smoothly; unchanged where ``cap`` is 0."""
    if not cap:
        return x
    return g.add("Mul", g.add("Tanh", g.add("Div", x, g.constant(cap))), g.constant(cap))


def activate(g: GraphWriter, x: str, activation: Activation) -> str:
    """Node by node, as operator set 18 has none of them."""
    if activation == "silu":
        return g.add("Mul", x, g.add("Sigmoid", x))
    half = g.add("Mul", x, g.constant(0.5))
    if activation == "gelu":
        inner = g.add("Erf", g.add("Div", x, g.constant(float(np.sqrt(2)))))
    else:
        cube = g.add("Mul", g.add("Pow", x, g.constant(3.0)), g.constant(GELU_CUBE))
        inner = g.add("Tanh", g.add("Mul", g.add("Add", x, cube), g.constant(GELU_SCALE)))
    return g.add("Mul", half, g.add("Add", inner, g.constant(1.0)))
