"""What goes into an ONNX model, read without opening it."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from saccade.errors import BundleError
from saccade.onnx_file import subset_pb2 as pb


def graph_inputs(content: bytes, name: str) -> dict[str, tuple[int, ...]]:
    """The dimensions of each input, 0 where one may have any size.

    Raises ``BundleError`` for what is no ONNX model; ``name`` is only for the message.
    """
    try:
        model = pb.Model.FromString(content)
        return {
            value.name.decode(): tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in model.graph.input
        }
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{name} is no ONNX model: {error}") from error
