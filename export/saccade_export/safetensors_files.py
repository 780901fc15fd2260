"""Safetensors of a checkpoint: found, checked and mapped, without reading the weights.

A file is 8 bytes little-endian length of its header, the header as JSON (name -> dtype, shape,
data_offsets), and the tensors: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade import bounded_json
from saccade.errors import BundleError

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MAX_HEADER_BYTES = 100_000_000  # the format's own limit
MAX_INDEX_BYTES = 64 << 20
DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
LENGTH_BYTES = 8


def locate(folder: Path) -> Mapping[str, Path]:
    """The file of each tensor. Raises BundleError for weights that are missing, truncated, not in
    safetensors, or outside the folder.
    """
    if (folder / INDEX).is_file():
        return _sharded(folder)
    if (folder / SINGLE).is_file():
        return dict.fromkeys(header(folder / SINGLE), folder / SINGLE)
    others = sorted(path.name for path in folder.glob("*.bin"))
    found = f"only {', '.join(others[:5])}; convert them to safetensors" if others else "none"
    raise BundleError(f"{folder} has no {SINGLE} and no {INDEX}: weights there: {found}")


def total_bytes(folder: Path) -> int:
    """Bytes of all files with weights."""
    return sum(path.stat().st_size for path in set(locate(folder).values()))


def _sharded(folder: Path) -> Mapping[str, Path]:
    listed = _weight_map(folder / INDEX)
    names = sorted(set(listed.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise BundleError(f"{folder / INDEX} names files outside the folder: {outside[:5]}")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BundleError(
            f"{folder} lacks {len(missing)} of {len(names)} files with weights: "
            f"{', '.join(missing[:5])}"
        )
    there = {name: set(header(folder / name)) for name in names}
    lost = [tensor for tensor, name in listed.items() if tensor not in there[name]]
    if lost:
        raise BundleError(
            f"{folder / INDEX} lists {len(lost)} tensors that their files lack: {lost[:3]}"
        )
    return {tensor: folder / name for tensor, name in listed.items()}


def _weight_map(path: Path) -> dict[str, str]:
    fields = read_json(path, MAX_INDEX_BYTES)
    listed = fields.get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(v, str) for v in listed.values()):
        raise BundleError(f"{path} has no weight_map of tensor names to files")
    return listed


def header(path: Path) -> Mapping[str, Any]:
    """Name -> dtype, shape and offsets. BundleError with sizes where the file is cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        if len(start) < LENGTH_BYTES:
            raise BundleError(f"{path} has {size} bytes, a safetensors file has at least 8")
        length = struct.unpack("<Q", start)[0]
        if length > min(MAX_HEADER_BYTES, size - LENGTH_BYTES):
            raise BundleError(f"{path} has {size} bytes, its header alone would have {length}")
        text = file.read(length)
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise BundleError(f"{path} has no readable safetensors header: {error}") from error
    if not isinstance(fields, dict):
        raise BundleError(f"{path} has no readable safetensors header")
    fields.pop("__metadata__", None)
    _check_extents(path, fields, size - LENGTH_BYTES - length)
    return fields


def _check_extents(path: Path, fields: Mapping[str, Any], room: int) -> None:
    for name, entry in fields.items():
        try:
            begin, end = entry["data_offsets"]
            expected = math.prod(entry["shape"]) * DTYPE_BYTES.get(entry["dtype"], 0)
        except (TypeError, KeyError, ValueError) as error:
            raise BundleError(f"{path}: tensor {name[:80]} is described wrongly") from error
        if not 0 <= begin <= end <= room:
            raise BundleError(
                f"{path} is truncated: tensor {name[:80]} ends at byte {end} of its data, "
                f"there are {room}"
            )
        if expected and end - begin != expected:
            raise BundleError(
                f"{path}: tensor {name[:80]} has {end - begin} bytes, its shape needs {expected}"
            )


def read_json(path: Path, most_bytes: int) -> dict[str, Any]:
    """A JSON object in a file. Raises BundleError if it is missing, too large or something else."""
    fields = bounded_json.loads(_read(path, most_bytes), str(path))
    if not isinstance(fields, dict):
        raise BundleError(f"{path} holds no JSON object")
    return fields


def read_text(path: Path, most_bytes: int) -> str:
    """A text file in UTF-8. Raises as `read_json` does."""
    try:
        return _read(path, most_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is no text in UTF-8: {error}") from error


def _read(path: Path, most_bytes: int) -> bytes:
    if not path.is_file():
        raise BundleError(f"{path} is missing")
    size = path.stat().st_size
    if size > most_bytes:
        raise BundleError(f"{path} has {size} bytes, {most_bytes} are allowed")
    return path.read_bytes()
