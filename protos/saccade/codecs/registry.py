"""Codecs by name (options, manifests) and by wire id (packets).

Some need no tables and are there for everybody: `PLAIN`. The others are calibrated on an encoder's
features, and their tables are part of its bundle: `of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from saccade.codecs.base import Codec, TableCodec
from saccade.codecs.f16 import F16
from saccade.codecs.f32 import F32Codec
from saccade.codecs.int8z import Int8z
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.codecs.table_file import MAX_FILE_BYTES
from saccade.errors import BundleError, CodecError

if TYPE_CHECKING:
    from saccade.bundle import Bundle

# From the bytes of a table's file; raises BundleError.
CALIBRATED: Mapping[str, Callable[[bytes], TableCodec]] = {
    "klt": Klt.from_bytes,
    "rvq": Rvq.from_bytes,
}


class Codecs:
    """The codecs that one end has."""

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(codec.name for codec in self._codecs)

    def get(self, name: str) -> Codec:
        """The codec of that name. Raises CodecError, listing the known ones."""
        for codec in self._codecs:
            if codec.name == name:
                return codec
        if name in CALIBRATED:
            raise CodecError(f"codec {name!r} needs tables that the bundle doesn't have")
        raise CodecError(f"unknown codec {name!r}, known are: {', '.join(self.names)}")

    def by_wire_id(self, wire_id: int) -> Codec:
        """The codec that a packet names. Raises CodecError."""
        for codec in self._codecs:
            if codec.wire_id == wire_id:
                return codec
        known = ", ".join(str(codec.wire_id) for codec in self._codecs)
        raise CodecError(f"unknown codec id {wire_id}, known are {known}")


PLAIN = Codecs((F16(), Int8z(), F32Codec()))


def names() -> tuple[str, ...]:
    """All codecs that a bundle may allow."""
    return (*PLAIN.names, *CALIBRATED)


def of(bundle: Bundle) -> Codecs:
    """Those that the bundle allows, with its tables.

    Raises BundleError for tables that are missing, damaged or of another token width,
    DigestMismatch for tables that are not the bundle's.
    """
    return Codecs([_open(bundle, name) for name in bundle.manifest.codecs])


def _open(bundle: Bundle, name: str) -> Codec:
    if name not in CALIBRATED:
        return PLAIN.get(name)
    file, dim = bundle.manifest.codec_tables[name], bundle.manifest.encoder.dim
    size = bundle.manifest.files[file].bytes
    if size > MAX_FILE_BYTES:
        raise BundleError(f"{file} has {size} bytes, a codec table at most {MAX_FILE_BYTES}")
    codec = CALIBRATED[name](bundle.read(file, MAX_FILE_BYTES))
    if codec.dim != dim:
        raise BundleError(f"{file} is for tokens of {codec.dim} features, the encoder's have {dim}")
    return codec
