"""Codecs by name (options, manifests) and by wire id (packets).

Some need no tables and are there for everybody: `PLAIN`. The others are calibrated on an encoder's
features, and their tables are part of its bundle: `of`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from saccade.codecs.base import Codec, TableCodec
from saccade.codecs.f16 import F16
from saccade.codecs.f32 import F32Codec
from saccade.codecs.int8z import Int8z
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.codecs.table_file import MAX_FILE_BYTES, Data
from saccade.errors import BundleError, CodecError

if TYPE_CHECKING:
    from saccade.bundle import Bundle

# From the bytes of a table's file; raises BundleError.
CALIBRATED: Mapping[str, Callable[[Data], TableCodec]] = {
    "klt": Klt.from_bytes,
    "rvq": Rvq.from_bytes,
}
_WIRE_IDS = {"klt": Klt.wire_id, "rvq": Rvq.wire_id}


class Codecs:
    """The codecs that one end has. Tables are opened when their codec is first asked for."""

    def __init__(self, codecs: Sequence[Codec | LazyCodec]) -> None:
        self._codecs = tuple(codecs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(codec.name for codec in self._codecs)

    def get(self, name: str) -> Codec:
        """The codec of that name. Raises CodecError, listing the known ones; and as `of` does for
        tables.
        """
        for codec in self._codecs:
            if codec.name == name:
                return _opened(codec)
        if name in CALIBRATED:
            raise CodecError(f"codec {name!r} needs tables that the bundle doesn't have")
        raise CodecError(f"unknown codec {name!r}, known are: {', '.join(self.names)}")

    def by_wire_id(self, wire_id: int) -> Codec:
        """The codec that a packet names. Raises CodecError; and as `of` does for tables."""
        for codec in self._codecs:
            if codec.wire_id == wire_id:
                return _opened(codec)
        known = ", ".join(str(codec.wire_id) for codec in self._codecs)
        raise CodecError(f"unknown codec id {wire_id}, known are {known}")


class LazyCodec:
    """A calibrated codec whose tables are not open yet."""

    def __init__(self, name: str, open_tables: Callable[[], Codec]) -> None:
        self.name, self.wire_id = name, _WIRE_IDS[name]
        self._open, self._lock = open_tables, Lock()
        self._codec: Codec | None = None

    def codec(self) -> Codec:
        """The same each time, from any thread."""
        with self._lock:
            if self._codec is None:
                self._codec = self._open()
            return self._codec


def _opened(codec: Codec | LazyCodec) -> Codec:
    return codec.codec() if isinstance(codec, LazyCodec) else codec


PLAIN = Codecs((F16(), Int8z(), F32Codec()))


def names() -> tuple[str, ...]:
    """All codecs that a bundle may allow."""
    return (*PLAIN.names, *CALIBRATED)


def of(bundle: Bundle) -> Codecs:
    """Those that the bundle allows, with its tables, which are opened when they are first used.

    Raises BundleError for tables that are too large, and when they are used for those that are
    missing, damaged or of another token width; DigestMismatch for those that are not the bundle's.
    """
    return Codecs([_open(bundle, name) for name in bundle.manifest.codecs])


def _open(bundle: Bundle, name: str) -> Codec | LazyCodec:
    if name not in CALIBRATED:
        return PLAIN.get(name)
    file, dim = bundle.manifest.codec_tables[name], bundle.manifest.encoder.dim
    size = bundle.manifest.files[file].bytes
    if size > MAX_FILE_BYTES:
        raise BundleError(f"{file} has {size} bytes, a codec table at most {MAX_FILE_BYTES}")
    return LazyCodec(name, partial(_open_tables, bundle, name, file, dim))


def _open_tables(bundle: Bundle, name: str, file: str, dim: int) -> Codec:
    codec = CALIBRATED[name](bundle.mapped(file, MAX_FILE_BYTES))
    if codec.dim != dim:
        raise BundleError(f"{file} is for tokens of {codec.dim} features, the encoder's have {dim}")
    return codec
