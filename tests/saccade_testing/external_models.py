"""Models whose weights lie in another file, wherever ONNX allows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ELSEWHERE = "weights.bin"
VALUES = np.asarray([1.5, -2.0, 3.25, 0.5], np.float32)


def tensor(location: str = ELSEWHERE, **keys: str) -> onnx.TensorProto:
    """[4] float32 in another file."""
    made = onnx.TensorProto(
        name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, **keys}.items():
        made.external_data.add(key=key, value=value)
    return made


def model(weight: onnx.TensorProto | None = None) -> onnx.ModelProto:
    """y = x + w, float32 [4]; its weight is an initializer."""
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in ("x", "y")]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inner = [weight or numpy_helper.from_array(VALUES, "w")]
    graph = helper.make_graph([node], "sum", ports[:1], ports[1:], inner)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _with_node(node: onnx.NodeProto) -> onnx.ModelProto:
    made = model()
    made.graph.node.append(node)
    return made


def _constant(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["unused"], **attributes)


def _sparse() -> onnx.SparseTensorProto:
    indices = numpy_helper.from_array(np.arange(4), "indices")
    return onnx.SparseTensorProto(values=tensor(), indices=indices, dims=[8])


def _branch() -> onnx.GraphProto:
    return helper.make_graph([], "branch", [], [], [tensor()])


def _in_sparse() -> onnx.ModelProto:
    made = model()
    made.graph.sparse_initializer.append(_sparse())
    return made


def _in_function() -> onnx.ModelProto:
    made = model()
    made.functions.add(name="f", domain="here").node.append(_constant(value=tensor()))
    return made


def _in_function_default() -> onnx.ModelProto:
    made = model()
    made.functions.add(name="f", domain="here").attribute_proto.append(
        helper.make_attribute("value", tensor())
    )
    return made


def _in_training() -> onnx.ModelProto:
    made = model()
    made.training_info.add().algorithm.CopyFrom(_branch())
    return made


def _in_training_start() -> onnx.ModelProto:
    made = model()
    made.training_info.add().initialization.CopyFrom(_branch())
    return made


def _deep() -> onnx.ModelProto:
    graph = _branch()
    for _ in range(5):
        graph = helper.make_graph([_conditional(graph)], "outer", [], [])
    return _with_node(_conditional(graph))


def _conditional(graph: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["c"], ["out"], then_branch=graph, else_branch=graph)


def _many(value: object) -> onnx.NodeProto:
    attribute = helper.make_attribute("several", [value])
    return onnx.NodeProto(op_type="Odd", domain="here", output=["unused"], attribute=[attribute])


# Every place of a model in which a tensor can lie.
PLACES: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "initializer": lambda: model(tensor()),
    "constant": lambda: _with_node(_constant(value=tensor())),
    "sparse constant": lambda: _with_node(_constant(sparse_value=_sparse())),
    "sparse initializer": _in_sparse,
    "tensors of an attribute": lambda: _with_node(_many(tensor())),
    "graphs of an attribute": lambda: _with_node(_many(_branch())),
    "sparse tensors of an attribute": lambda: _with_node(_many(_sparse())),
    "subgraph": lambda: _with_node(_conditional(_branch())),
    "subgraph of a subgraph": _deep,
    "function": _in_function,
    "default of a function": _in_function_default,
    "training graph": _in_training,
    "start of training": _in_training_start,
}


def save(folder: Path, made: onnx.ModelProto, name: str = "edge/model.onnx") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString())
    return path
