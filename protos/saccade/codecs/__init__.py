"""Token sets to layers of bytes and back: ``get("int8z").encode(sets)``."""

from saccade.codecs.base import Codec, SetShape
from saccade.codecs.registry import by_wire_id, get, names

__all__ = ["Codec", "SetShape", "by_wire_id", "get", "names"]
