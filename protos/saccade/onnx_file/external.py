"""The files that an ONNX model would have ONNX Runtime open: its external data.

Every tensor of the model is looked at: initializers, constants in attributes, subgraphs, sparse
tensors, functions, training graphs. protobuf's own parser reads the file, with its own bound of
nesting, so that a model that it accepts means the same here as in ONNX Runtime.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from google.protobuf.message import DecodeError, Message

from saccade.errors import BundleError
from saccade.onnx_file import subset_pb2 as pb

# A FlatBuffers identifier at byte 4: ONNX Runtime's own format, which can hold compiled kernels.
ORT_FORMAT = b"ORTM"
# ONNX Runtime reads this place as an address in its own memory.
IN_MEMORY = "_ORT_MEM_ADDR_"
# The operator of a compiled model, whose attribute names a file for the device's driver.
COMPILED = b"EPContext"
KEYS = frozenset({"location", "offset", "length", "checksum"})
_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class ExternalData:
    """Where one tensor's values lie. ``location``: relative to the model's folder; ``length`` in
    bytes, None: as the tensor's shape says.
    """

    location: str
    offset: int
    length: int | None

    @property
    def end(self) -> int:
        """The first byte behind what is stated, counted from the file's start."""
        return self.offset + (self.length or 0)


def external_data(content: bytes, name: str) -> list[ExternalData]:
    """Every piece of external data of the model in ``content``, in no certain order.

    Raises ``BundleError`` for what is no ONNX model, and for a model that opens files in a way
    that can't be checked; ``name`` is only for the message.
    """
    if content[4:8] == ORT_FORMAT:
        raise BundleError(f"{name} is in ONNX Runtime's own format, only ONNX models are opened")
    try:
        model = pb.Model.FromString(content)
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{name} is no ONNX model: {error}") from error
    if not model.HasField("graph"):
        raise BundleError(f"{name} is no ONNX model: it has no graph")
    found: list[ExternalData] = []
    for part in _parts(model):
        if isinstance(part, pb.Node) and part.op_type == COMPILED:
            raise BundleError(f"{name} has a node {COMPILED.decode()}, which opens files unchecked")
        if isinstance(part, pb.Tensor) and (part.data_location or part.external_data):
            found.append(_read(part, name))
    return found


def _parts(model: Message) -> Iterator[Message]:
    """``model`` and every message inside it."""
    rest: list[Message] = [model]
    while rest:
        part = rest.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is not None:
                rest.extend([value] if isinstance(value, Message) else value)


def _read(tensor: pb.Tensor, name: str) -> ExternalData:
    try:
        pairs = [(e.key.decode(), e.value.decode()) for e in tensor.external_data]
    except UnicodeDecodeError as error:
        raise BundleError(f"{name} names external data that is no text: {error}") from error
    values = dict(pairs)
    if len(values) != len(pairs) or "location" not in values or not values.keys() <= KEYS:
        stated = ", ".join(key[:40] for key, _ in pairs[:8]) or "nothing"
        raise BundleError(f"{name} has external data that states {stated}, not its location once")
    return ExternalData(
        _location(values["location"], name),
        _number(values.get("offset", "0"), name),
        _number(values["length"], name) if "length" in values else None,
    )


def _location(location: str, name: str) -> str:
    path = PurePosixPath(location)
    odd = not location or not location.isprintable() or "\\" in location or ":" in location
    if odd or path.is_absolute() or ".." in path.parts or IN_MEMORY in location:
        raise BundleError(f"{name} has external data at {location[:80]!r}, outside its folder")
    return str(path)


def _number(text: str, name: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise BundleError(f"{name} has external data at byte {text[:40]!r}, which is no number")
    return int(text)
