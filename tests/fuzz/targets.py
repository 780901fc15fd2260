"""What the fuzzer calls: untrusted bytes end in tokens, in a typed error, or in a finding.

The first byte of an input chooses what the rest is: a packet as it came; a packet whose checksums
are made right, so that damage reaches the codecs; the file of a codec's table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError

from saccade.bounded_json import loads
from saccade.bundle import MANIFEST, find
from saccade.codecs import SetShape
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.errors import BundleError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.manifest import parse
from saccade.onnx_file import external_data
from saccade.packet import CRC_BYTES, unpack
from saccade.v1 import tokens_pb2 as pb
from saccade_testing.external_models import PLACES
from saccade_testing.tables import every_codec, klt_table, rvq_table
from saccade_testing.tokens import CAMERAS, EPOCH_UNIX_MS, token_set

GOLDEN = Path(__file__).parents[1] / "wire" / "golden"
CODECS = every_codec(dim=4)
LIMITS = Limits(dim=4, codecs=CODECS.names)


def packet(data: bytes) -> None:
    """A packet as a link would bring it."""
    try:
        _unpack(pb.FramePacket.FromString(data))
    except DecodeError:
        return


def resealed_packet(data: bytes) -> None:
    """A packet under right checksums."""
    try:
        received = pb.FramePacket.FromString(data)
    except DecodeError:
        return
    layers = [_reseal(layer) for layer in received.layers]
    del received.layers[:]
    received.layers.extend(layers)
    if received.owners:
        received.owners = _reseal(received.owners)
    _unpack(received)


def klt_file(data: bytes) -> None:
    """The file of klt's table, and what it then does to tokens."""
    _table(Klt.from_bytes, data)


def rvq_file(data: bytes) -> None:
    """The file of rvq's table, and what it then does to tokens."""
    _table(Rvq.from_bytes, data)


def model_file(data: bytes) -> None:
    """An ONNX model, of which nothing is run."""
    with suppress(BundleError):
        external_data(data, "model.onnx")


def manifest(data: bytes) -> None:
    """The file manifest.json."""
    with suppress(BundleError):
        Limits.of(parse(loads(data, "manifest.json"))).to_wire()


TARGETS: tuple[Callable[[bytes], None], ...] = (
    packet, resealed_packet, klt_file, rvq_file, model_file, manifest,
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Raises whatever no caller expects: that is a finding."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def seeds() -> Iterator[tuple[str, bytes]]:
    """Golden packets, damaged or not, and small tables: (name, input)."""
    for path in sorted(GOLDEN.glob("packet-*.hex")):
        golden = bytes.fromhex(path.read_text())
        yield f"{path.stem}-raw", b"\0" + golden
        yield f"{path.stem}-resealed", b"\1" + golden
    yield "table-klt", b"\2" + klt_table(4).to_bytes()
    yield "table-rvq", b"\3" + rvq_table(4).to_bytes()
    for place, make in PLACES.items():
        yield f"model-{place.replace(' ', '-')}", b"\4" + make().SerializeToString()
    yield "manifest", b"\5" + (find("crossing") / MANIFEST).read_bytes()


def _reseal(layer: bytes) -> bytes:
    body = layer[:-CRC_BYTES]
    return body + int(google_crc32c.value(body)).to_bytes(CRC_BYTES, "little")


def _unpack(received: pb.FramePacket) -> None:
    try:
        frame = unpack(
            received, limits=LIMITS, cameras=CAMERAS, epoch_unix_ms=EPOCH_UNIX_MS, codecs=CODECS
        )
    except (PacketError, LimitExceeded):
        return
    for view in frame.views:
        tokens = view.tokens
        assert tokens.features.shape == (len(tokens.ids), 4)
        assert np.all(np.isfinite(tokens.features))
        assert sorted(tokens.order.tolist()) == list(range(len(tokens.ids)))
        assert tokens.owners is None or len(tokens.owners) == LIMITS.tokens_per_view


def _table(read: Callable[[bytes], Klt | Rvq], data: bytes) -> None:
    try:
        codec = read(data)
    except BundleError:
        return
    assert codec.table.to_bytes() == data
    tokens = token_set([3, 5], dim=codec.dim)
    try:
        (decoded,) = codec.decode(codec.encode([tokens]), [SetShape.of(tokens)])
    except PacketError:
        return
    assert np.all(np.isfinite(decoded.features))
