"""Codecs by name (options, manifests) and by wire id (packets)."""

from __future__ import annotations

from saccade.codecs.base import Codec
from saccade.codecs.f16 import F16
from saccade.codecs.int8z import Int8z
from saccade.errors import CodecError

_CODECS: tuple[Codec, ...] = (F16(), Int8z())


def names() -> tuple[str, ...]:
    """All codecs, in the order of their wire ids."""
    return tuple(codec.name for codec in _CODECS)


def get(name: str) -> Codec:
    """The codec of that name. Raises CodecError, listing the known ones."""
    for codec in _CODECS:
        if codec.name == name:
            return codec
    raise CodecError(f"unknown codec {name!r}, known are: {', '.join(names())}")


def by_wire_id(wire_id: int) -> Codec:
    """The codec that a packet names. Raises CodecError."""
    for codec in _CODECS:
        if codec.wire_id == wire_id:
            return codec
    raise CodecError(f"unknown codec id {wire_id}, known are 0..{len(_CODECS) - 1}")
