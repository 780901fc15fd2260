"""An ONNX graph, one node a call, whose weights go to a file beside it as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
CONTRIB = "com.microsoft"
IR_VERSION = 9
ALIGNMENT = 4096  # of each tensor: what a page-wise mapping of the file needs

Array = npt.NDArray[np.generic]
Port = tuple[int, Sequence[str | int]]  # element type and dimensions


class WeightFile:
    """The external data of the graphs of one folder. A name that is written again is shared."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("wb")
        self._places: dict[str, TensorProto] = {}

    def __enter__(self) -> WeightFile:  # noqa: PYI034 - typing.Self is Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stream.close()

    def has(self, name: str) -> bool:
        return name in self._places

    def tensor(self, name: str) -> TensorProto:
        return self._places[name]

    def put(self, name: str, value: Array) -> TensorProto:
        """Write ``value`` and return its entry; a name that is there already is not written."""
        if name not in self._places:
            self._stream.write(bytes(-self._stream.tell() % ALIGNMENT))
            offset = self._stream.tell()
            content = np.ascontiguousarray(value)
            self._stream.write(content.data)
            self._places[name] = self._entry(name, content, offset)
        return self._places[name]

    def _entry(self, name: str, value: Array, offset: int) -> TensorProto:
        tensor = TensorProto()
        tensor.name = name
        tensor.data_type = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor.dims.extend(value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        stated = {"location": self.path.name, "offset": str(offset), "length": str(value.nbytes)}
        for key, text in stated.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, text
        return tensor


class GraphWriter:
    """Nodes and weights of one graph; each ``add`` returns the name of its output."""

    def __init__(self, weights: WeightFile) -> None:
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._contrib = False

    def add(self, op: str, *inputs: str, out: str = "", **attributes: int | list[int]) -> str:
        """A node with one output."""
        return self.split(op, *inputs, outs=[out or self._fresh()], **attributes)[0]

    def split(
        self, op: str, *inputs: str, outs: Sequence[str], **attributes: int | list[int]
    ) -> list[str]:
        """A node with the outputs ``outs``; empty names are made up."""
        outputs = [name or f"{self._fresh()}.{i}" for i, name in enumerate(outs)]
        node = helper.make_node(op, list(inputs), outputs)
        node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
        self._nodes.append(node)
        return outputs

    def contrib(self, op: str, *inputs: str, **attributes: int) -> str:
        """A node of ONNX Runtime's own operators."""
        name = self.split(op, *inputs, outs=[self._fresh()], **attributes)[0]
        self._nodes[-1].domain = CONTRIB
        self._contrib = True
        return name

    def constant(self, value: Array | float | list[int]) -> str:
        """A small constant: a float is float32, a list of integers int64. Equal ones are shared."""
        if isinstance(value, list):
            array: Array = np.array(value, np.int64)
        elif isinstance(value, float):
            array = np.array(value, np.float32)
        else:
            array = np.asarray(value)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant.{len(self._constants)}"
            self._constants[key] = name
            self._tensors[name] = numpy_helper.from_array(np.asarray(array), name)
        return self._constants[key]

    def weight(self, name: str, value: Array) -> str:
        """A weight, in the file beside the graph."""
        self._tensors[name] = self.weights.put(name, value)
        return name

    def stored(self, name: str) -> str:
        """A weight that another graph of the folder has written."""
        self._tensors[name] = self.weights.tensor(name)
        return name

    def save(self, path: Path, inputs: Mapping[str, Port], outputs: Mapping[str, Port]) -> None:
        """Write the graph. Its weights' file must be in the same folder."""
        graph = helper.make_graph(
            self._nodes,
            path.stem,
            [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in inputs.items()],
            [helper.make_tensor_value_info(n, kind, dims) for n, (kind, dims) in outputs.items()],
            list(self._tensors.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if self._contrib:
            opsets.append(helper.make_opsetid(CONTRIB, 1))
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), str(path))

    def _fresh(self) -> str:
        return f"node.{len(self._nodes)}"
