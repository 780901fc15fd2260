"""Constant folding of a traced graph whose weights are not in it: what it computes from constants
alone, mostly shapes, becomes constants.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[np.generic]
MAX_FOLDED_BYTES = 1 << 20  # larger results would weigh more than the nodes that make them


def fold(model: onnx.ModelProto) -> None:
    """In place. Initializers that are there count as constants, inputs do not."""
    graph = model.graph
    known: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made: dict[str, Array] = {}
    kept = []
    for node in graph.node:
        values = _result(model, node, known) if _constant(node, known) else None
        if values is None or values.nbytes > MAX_FOLDED_BYTES:
            kept.append(node)
        else:
            known[node.output[0]] = made[node.output[0]] = values
    used = {name for node in kept for name in node.input} | {port.name for port in graph.output}
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(
        numpy_helper.from_array(values, name) for name, values in made.items() if name in used
    )


def _constant(node: onnx.NodeProto, known: dict[str, Array]) -> bool:
    whole = len(node.output) == 1 and not any(a.HasField("g") for a in node.attribute)
    return whole and all(not name or name in known for name in node.input)


def _result(model: onnx.ModelProto, node: onnx.NodeProto, known: dict[str, Array]) -> Array | None:
    if node.op_type == "Constant":
        return _value(node)
    names = [name for name in node.input if name]
    ports = [helper.make_value_info(name, onnx.TypeProto()) for name in (*names, node.output[0])]
    graph = helper.make_graph([node], "folded", ports[:-1], ports[-1:])
    alone = helper.make_model(graph, opset_imports=model.opset_import)
    (result,) = ReferenceEvaluator(alone).run(None, {name: known[name] for name in names})
    return np.asarray(result)


def _value(node: onnx.NodeProto) -> Array | None:
    for attribute in node.attribute:
        if attribute.name == "value":
            array: Array = numpy_helper.to_array(attribute.t)
            return array
    return None
