"""Three graphs with the bundle's interfaces and random weights: small, but with real attention.

Unlike a trained model, their answers depend on every bit of the prompt, so that a mistake in a
mask, a position or a cache shows as another answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS, HEAD_DIM, LAYERS = 16, 2, 8, 2
CONTEXT = 1024
# An ONNX model with an empty graph, for files that a test never opens.
EMPTY_MODEL = b"\x08\x08\x3a\x00"


@dataclass
class Graph:
    """Nodes and weights, written one call at a time."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, *inputs: str, to: str = "", **attributes: int | list[int]) -> str:
        output = to or f"n{len(self.nodes)}"
        node = helper.make_node(op, list(inputs), [output])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self.nodes.append(node)
        return output

    def save(
        self,
        path: Path,
        inputs: dict[str, tuple[int, list[str | int]]],
        outputs: dict[str, list[str | int]],
    ) -> None:
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in outputs.items()],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))


def write_projector(
    path: Path, rng: np.random.Generator, dim: int, grid_tokens: int, views: int
) -> None:
    """features, ids, slots, boxes, kinds -> embeds: a sum of five linear maps."""
    g = Graph()
    terms = [
        g.add("MatMul", "features", g.constant(_normal(rng, dim, WIDTH))),
        g.add("Gather", g.constant(_normal(rng, grid_tokens, WIDTH)), "ids"),
        g.add("Gather", g.constant(_normal(rng, views, WIDTH)), "slots"),
        g.add("MatMul", "boxes", g.constant(_normal(rng, 4, WIDTH))),
        g.add("Gather", g.constant(_normal(rng, 3, WIDTH)), "kinds"),
    ]
    g.add("Sum", *terms, to="embeds")
    inputs: dict[str, tuple[int, list[str | int]]] = {
        "features": (TensorProto.FLOAT, ["K", dim]),
        "ids": (TensorProto.INT64, ["K"]),
        "slots": (TensorProto.INT64, ["K"]),
        "boxes": (TensorProto.FLOAT, ["K", 4]),
        "kinds": (TensorProto.INT64, ["K"]),
    }
    g.save(path, inputs, {"embeds": ["K", WIDTH]})


def write_embedding(path: Path, rng: np.random.Generator, vocab: int) -> None:
    """input_ids -> embeds: a table."""
    g = Graph()
    g.add("Gather", g.constant(_normal(rng, vocab, WIDTH)), "input_ids", to="embeds")
    ids: list[str | int] = ["B", "L"]
    g.save(path, {"input_ids": (TensorProto.INT64, ids)}, {"embeds": ["B", "L", WIDTH]})


def write_decoder(path: Path, rng: np.random.Generator, vocab: int, eos: int) -> None:
    """A causal transformer without norms or feed-forward, with a key-value cache.

    Some answers end with ``eos``, the others do not end by themselves.
    """
    g = Graph()
    places = g.constant(_normal(rng, CONTEXT, WIDTH))
    x = g.add("Add", "inputs_embeds", g.add("Gather", places, "position_ids"))
    bias = _attention_bias(g)
    for layer in range(LAYERS):
        x = _layer(g, rng, x, bias, layer)
    head = _normal(rng, WIDTH, vocab)
    head[:, eos] *= 1.5
    g.add("MatMul", x, g.constant(head), to="logits")
    inputs: dict[str, tuple[int, list[str | int]]] = {
        "inputs_embeds": (TensorProto.FLOAT, ["B", "L", WIDTH]),
        "attention_mask": (TensorProto.INT64, ["B", "S"]),
        "position_ids": (TensorProto.INT64, ["B", "L"]),
    }
    outputs: dict[str, list[str | int]] = {"logits": ["B", "L", vocab]}
    for name in (f"{i}.{kind}" for i in range(LAYERS) for kind in ("key", "value")):
        inputs[f"past_key_values.{name}"] = (TensorProto.FLOAT, ["B", HEADS, "P", HEAD_DIM])
        outputs[f"present.{name}"] = ["B", HEADS, "S", HEAD_DIM]
    g.save(path, inputs, outputs)


def _attention_bias(g: Graph) -> str:
    """[B, 1, L, S]: 0 where a query may look, a large negative number elsewhere."""
    zero, one = g.constant(np.array(0, np.int64)), g.constant(np.array(1, np.int64))
    length = g.add("Squeeze", g.add("Shape", "position_ids", start=1, end=2))
    total = g.add("Squeeze", g.add("Shape", "attention_mask", start=1, end=2))
    keys = g.add("Range", zero, total, one)
    queries = g.add("Range", g.add("Sub", total, length), total, one)
    column = g.add("Unsqueeze", queries, g.constant(np.array([1], np.int64)))
    causal = g.add("LessOrEqual", keys, column)
    seen = g.add("Greater", "attention_mask", zero)
    allowed = g.add("And", causal, g.add("Unsqueeze", seen, g.constant(np.array([1, 2], np.int64))))
    nothing, never = g.constant(np.array(0, np.float32)), g.constant(np.array(-1e9, np.float32))
    return g.add("Where", allowed, nothing, never)


def _layer(g: Graph, rng: np.random.Generator, x: str, bias: str, layer: int) -> str:
    """x + attention(x): [B, L, WIDTH]."""
    query, key, value = (_heads(g, rng, x) for _ in range(3))
    past = f"past_key_values.{layer}"
    keys = g.add("Concat", f"{past}.key", key, to=f"present.{layer}.key", axis=2)
    values = g.add("Concat", f"{past}.value", value, to=f"present.{layer}.value", axis=2)
    scores = g.add("MatMul", query, g.add("Transpose", keys, perm=[0, 1, 3, 2]))
    weights = g.add("Softmax", g.add("Add", scores, bias), axis=-1)
    mixed = g.add("Transpose", g.add("MatMul", weights, values), perm=[0, 2, 1, 3])
    flat = g.add("Reshape", mixed, g.constant(np.array([0, 0, WIDTH], np.int64)))
    return g.add("Add", x, g.add("MatMul", flat, g.constant(_normal(rng, WIDTH, WIDTH))))


def _heads(g: Graph, rng: np.random.Generator, x: str) -> str:
    """[B, HEADS, L, HEAD_DIM]."""
    flat = g.add("MatMul", x, g.constant(_normal(rng, WIDTH, HEADS * HEAD_DIM)))
    split = g.add("Reshape", flat, g.constant(np.array([0, 0, HEADS, HEAD_DIM], np.int64)))
    return g.add("Transpose", split, perm=[0, 2, 1, 3])


def _normal(rng: np.random.Generator, *shape: int) -> npt.NDArray[np.float32]:
    return np.asarray(rng.standard_normal(shape) / shape[0] ** 0.25, np.float32)
