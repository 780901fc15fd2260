"""Weights of exported graphs: kept apart from the graph, written once, mapped when it runs.

A graph is traced without its weights. Here they become initializers in a file beside it, which
all graphs of one encoder share, in float32, float16 or int8. Nothing is held twice in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

Precision = Literal["f32", "f16", "int8"]
ALIGNMENT = 64  # bytes; what vector instructions and mapped files like
INLINE_BYTES = 1024  # smaller tensors stay inside the graph
LARGEST_INT8 = 127


@dataclass
class WeightsFile:
    """A file of raw tensors. ``place`` writes each once, however many graphs ask for it."""

    path: Path
    placed: dict[tuple[str, int, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb")

    def close(self) -> None:
        """Nothing can be placed any more."""
        self._file.close()

    def initializer(self, name: str, values: npt.NDArray[np.generic]) -> TensorProto:
        """The tensor as an initializer, in this file unless it is small."""
        if values.nbytes <= INLINE_BYTES:
            return numpy_helper.from_array(values, name)
        tensor = TensorProto(name=name, dims=values.shape)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.data_location = TensorProto.EXTERNAL
        offset, length = self._place(name, values)
        for key, value in (("location", self.path.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def _place(self, name: str, values: npt.NDArray[np.generic]) -> tuple[int, int]:
        flat = np.ascontiguousarray(values)
        # Positions of graphs of different sizes share a name, not their values.
        key = (name, values.nbytes, zlib.crc32(flat.data))
        if key not in self.placed:
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
            self.placed[key] = (self._file.tell(), values.nbytes)
            flat.tofile(self._file)
            self._file.flush()
        return self.placed[key]


def attach(
    model: onnx.ModelProto, weights: Mapping[str, Tensor], file: WeightsFile, precision: Precision
) -> onnx.ModelProto:
    """The graph's inputs that ``weights`` names become initializers.

    Transposed weights are stored transposed, and in int8 the weights of matrix products are stored
    as int8 with a scale for each output feature, all else in float32.
    """
    graph = model.graph
    _fold_transposes(graph, weights, file, precision)
    fed = [port for port in graph.input if port.name not in weights]
    used = {name for node in graph.node for name in node.input}
    for port in graph.input:
        if port.name in weights and port.name in used:  # one that is stored transposed is not
            graph.initializer.append(file.initializer(port.name, as_array(weights[port.name])))
    del graph.input[:]
    graph.input.extend(fed)
    _drop_unused(graph)
    return model


def as_array(tensor: Tensor) -> npt.NDArray[np.generic]:
    """Without a copy where numpy knows the type."""
    array: npt.NDArray[np.generic] = tensor.detach().contiguous().numpy()
    return array


def _fold_transposes(
    graph: onnx.GraphProto, weights: Mapping[str, Tensor], file: WeightsFile, precision: Precision
) -> None:
    """``MatMul(x, Transpose(W))`` -> ``MatMul(x, W')``."""
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        source = node.input[0] if node.op_type == "Transpose" else ""
        if source in weights and weights[source].ndim == 2:
            kept += _transposed(graph, node.output[0], source, weights[source], file, precision)
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _transposed(
    graph: onnx.GraphProto,
    output: str,
    name: str,
    weight: Tensor,
    file: WeightsFile,
    precision: Precision,
) -> list[onnx.NodeProto]:
    """The nodes that give W' under the name of the transposition's output."""
    if precision == "int8":
        levels, scales = quantised(weight)
        graph.initializer.append(file.initializer(f"{name}.int8", levels.T))
        graph.initializer.append(file.initializer(f"{name}.scale", scales))
        inputs = [f"{name}.int8", f"{name}.scale"]
        return [helper.make_node("DequantizeLinear", inputs, [output], axis=1)]
    stored = file.initializer(f"{name}.T", as_array(weight.T))
    if all(tensor.name != stored.name for tensor in graph.initializer):
        graph.initializer.append(stored)
    return [helper.make_node("Identity", [stored.name], [output])]


def quantised(weight: Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """[out, in] -> int8 levels [out, in] and float32 scales [out], symmetric."""
    values = weight.detach().float()
    scales = values.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST_INT8
    levels = (values / scales[:, None]).round().to(torch.int8)
    return levels.numpy(), scales.numpy()


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Bypass identities, and drop initializers that nothing reads."""
    outputs = {port.name for port in graph.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
        if node.op_type == "Identity" and node.output[0] not in outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    read = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(read)
