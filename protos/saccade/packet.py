"""A frame's tokens to a protobuf packet and back.

The packet carries what the receiver can't know: when, which camera, how many tokens of which
places, their features. The grid and the token width are the bundle's and not repeated. What stays
behind: labels and scores of regions, owners of merged tokens, capture time below a millisecond;
windows are rounded to 1/255 of the frame.

Each layer ends with its CRC32C: a link's or a disk's flipped bit is told from a codec's error, and
no codec sees damaged bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import google_crc32c

from saccade.codecs import PLAIN, Codecs, SetShape
from saccade.errors import PacketError
from saccade.limits import Limits, check
from saccade.nouns import FrameTokens, ViewTokens
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import ViewsHeader

NS_PER_MS = 1_000_000
MAX_LAYERS = 16
MAX_UNIX_MS = (1 << 63) // NS_PER_MS - 1  # nanoseconds stay within 64 bits, until the year 2262
CRC_BYTES = 4


def pack(
    frame: FrameTokens,
    codec: str,
    *,
    epoch_unix_ms: int,
    camera_index: int = 0,
    codecs: Codecs = PLAIN,
    layers: int | None = None,
) -> pb.FramePacket:
    """``epoch_unix_ms`` and ``camera_index`` are the session's Hello's, ``codecs`` the bundle's;
    ``layers``: the most to send, all where it is None.

    Raises PacketError for views out of order or of several grids, CodecError for an unknown codec
    or values that it can't write.
    """
    slots = [view.slot for view in frame.views]
    if not slots or slots != list(range(len(slots))):
        raise PacketError(f"views go in slots 0, 1, 2, ..., not {slots}")
    sets = [view.tokens for view in frame.views]
    grids = {tokens.grid for tokens in sets}
    if len(grids) != 1:
        raise PacketError(f"one frame's views have one grid, not {sorted(grids)}")
    chosen = codecs.get(codec)
    header = ViewsHeader(
        size=frame.size,
        counts=tuple(len(tokens.ids) for tokens in sets),
        windows=tuple(view.window for view in frame.views),
        closeups=_closeups(frame.views),
    )
    return pb.FramePacket(
        sequence=frame.sequence,
        captured_ms=frame.captured_ns // NS_PER_MS - epoch_unix_ms,
        views=header.to_bytes(),
        codec=chosen.wire_id,
        layers=[_seal(layer) for layer in chosen.encode(sets)[:layers]],
        camera=camera_index,
    )


def unpack(
    packet: pb.FramePacket,
    *,
    limits: Limits,
    cameras: Sequence[str],
    epoch_unix_ms: int,
    codecs: Codecs = PLAIN,
) -> FrameTokens:
    """The tokens of an untrusted packet; ``cameras`` and ``epoch_unix_ms`` are the Hello's,
    ``codecs`` the bundle's.

    Raises LimitExceeded for more than ``limits`` allow, before anything of that size is
    allocated; PacketError or CodecError for bytes that `pack` doesn't write.
    """
    check("bytes in a packet", packet.ByteSize(), limits.message_bytes)
    header = ViewsHeader.from_bytes(packet.views, limits)
    shapes = [SetShape(count, limits.dim, limits.grid) for count in header.counts]
    codec = codecs.by_wire_id(packet.codec)
    if codec.name not in limits.codecs:
        raise PacketError(f"codec {codec.name!r} was not agreed, only {', '.join(limits.codecs)}")
    sets = codec.decode(_layers(packet), shapes)
    whole = (None,) * (1 + header.crops)
    seen = zip(header.windows, sets, (*whole, *header.closeups), strict=True)
    return FrameTokens(
        sequence=packet.sequence,
        camera=_camera(packet.camera, cameras),
        captured_ns=_captured_ms(packet, epoch_unix_ms) * NS_PER_MS,
        size=header.size,
        views=tuple(
            ViewTokens(slot, window, tokens, closeup_of=crop)
            for slot, (window, tokens, crop) in enumerate(seen)
        ),
    )


def _closeups(views: Sequence[ViewTokens]) -> tuple[int, ...]:
    """The crops that the last views look into."""
    crops = [view.closeup_of for view in views]
    first = next((i for i, crop in enumerate(crops) if crop is not None), len(crops))
    closeups = tuple(crop for crop in crops[first:] if crop is not None)
    if len(closeups) < len(crops) - first:
        raise PacketError(f"close-ups come after all crops, not {crops}")
    return closeups


def _crc32c(data: bytes) -> int:
    return int(google_crc32c.value(data))


def _seal(layer: bytes) -> bytes:
    return layer + _crc32c(layer).to_bytes(CRC_BYTES, "little")


def _layers(packet: pb.FramePacket) -> list[bytes]:
    if not packet.layers:
        raise PacketError("a packet without layers")
    check("layers in a packet", len(packet.layers), MAX_LAYERS)
    return [_unseal(layer, index) for index, layer in enumerate(packet.layers)]


def _unseal(layer: bytes, index: int) -> bytes:
    if len(layer) < CRC_BYTES:
        raise PacketError(f"layer {index} has {len(layer)} bytes, its checksum alone {CRC_BYTES}")
    body, stated = layer[:-CRC_BYTES], int.from_bytes(layer[-CRC_BYTES:], "little")
    actual = _crc32c(body)
    if actual != stated:
        raise PacketError(f"layer {index}: checksum {actual:08x}, the packet says {stated:08x}")
    return body


def _camera(index: int, cameras: Sequence[str]) -> str:
    if index >= len(cameras):
        raise PacketError(f"camera {index} of a session that named {len(cameras)}")
    return cameras[index]


def _captured_ms(packet: pb.FramePacket, epoch_unix_ms: int) -> int:
    captured = epoch_unix_ms + packet.captured_ms
    if not 0 <= captured <= MAX_UNIX_MS:
        raise PacketError(f"captured {packet.captured_ms} ms after {epoch_unix_ms}: no such time")
    return captured
