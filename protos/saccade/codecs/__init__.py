"""Token sets to layers of bytes and back: ``of(bundle).get("int8z").encode(sets)``."""

from saccade.codecs.base import Codec, SetShape
from saccade.codecs.registry import CALIBRATED, PLAIN, Codecs, names, of

__all__ = ["CALIBRATED", "PLAIN", "Codec", "Codecs", "SetShape", "get", "names", "of"]

get = PLAIN.get
