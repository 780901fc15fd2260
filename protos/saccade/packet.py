"""A frame's tokens to a protobuf packet and back.

The packet carries what the receiver can't know: when, which camera, how many tokens of which
places, their features, and where tokens were merged, into which. The token width is the bundle's,
and a view's grid follows from its size in pixels by the bundle's geometry: they are not repeated.
What stays behind: scores of regions, their labels where no prompt names them, capture time below a
millisecond; windows are rounded to 1/255 of the frame.

Each layer ends with its CRC32C: a link's or a disk's flipped bit is told from a codec's error, and
no codec sees damaged bytes. Where a layer behind the base layer is damaged, the ones before it are
used, and the frame names it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import google_crc32c
from google.protobuf.message import Message

from saccade.codecs import PLAIN, Codec, Codecs, SetShape
from saccade.codecs.base import MAX_LAYERS
from saccade.codecs.owners import decode_owners, encode_owners
from saccade.errors import PacketError
from saccade.limits import Limits, check
from saccade.types import FrameTokens, TokenSet, ViewTokens
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import ViewsHeader

NS_PER_MS = 1_000_000
MAX_UNIX_MS = (1 << 63) // NS_PER_MS - 1  # nanoseconds stay within 64 bits, until the year 2262
CRC_BYTES = 4
MAX_IMAGES = 1024  # of a prompt

M = TypeVar("M", bound=Message)


def pack(
    frame: FrameTokens,
    codec: str,
    *,
    epoch_unix_ms: int,
    camera_index: int = 0,
    codecs: Codecs = PLAIN,
    layers: int | None = None,
    labels: Sequence[str] = (),
) -> pb.FramePacket:
    """``epoch_unix_ms`` and ``camera_index`` are the session's Hello's, ``codecs`` the bundle's;
    ``layers``: the most to send, all where it is None; ``labels``: the detector's, where prompts
    name them.

    Raises PacketError for views out of order, CodecError for an unknown codec or values that it
    can't write.
    """
    slots = [view.slot for view in frame.views]
    first = slots[0] if slots else 0
    if first not in (0, 1) or not slots or slots != list(range(first, first + len(slots))):
        raise PacketError(f"views go in slots 0, 1, 2, ... or 1, 2, ..., not {slots}")
    sets = [view.tokens for view in frame.views]
    chosen = codecs.get(codec)
    header = ViewsHeader(
        size=frame.size,
        counts=tuple(len(tokens.ids) for tokens in sets),
        windows=tuple(view.window for view in frame.views),
        closeups=_closeups(frame.views),
        overview=first == 0,
    )
    owners = encode_owners(sets)
    return pb.FramePacket(
        sequence=frame.sequence,
        captured_ms=frame.captured_ns // NS_PER_MS - epoch_unix_ms,
        views=header.to_bytes(),
        codec=chosen.wire_id,
        layers=[_seal(layer) for layer in chosen.encode(sets, layers, header.kinds)],
        camera=camera_index,
        owners=_seal(owners) if owners else b"",
        images=frame.images if frame.images != len(frame.views) else 0,
        labels=_label_numbers(frame.views, labels),
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
    check("images of a packet", packet.images, MAX_IMAGES)
    shapes = _shapes(header, limits, packet.images or len(header.counts))
    codec = codecs.by_wire_id(packet.codec)
    if codec.name not in limits.codecs:
        raise PacketError(f"codec {codec.name!r} was not agreed, only {', '.join(limits.codecs)}")
    layers, damaged = _layers(packet, codec)
    sets = _owned(packet.owners, codec.decode(layers, shapes), shapes)
    whole = (None,) * (header.overview + header.crops)
    names = _labels(packet.labels, len(sets) - header.overview, limits.labels)
    names = ("",) * header.overview + names
    seen = zip(header.windows, sets, (*whole, *header.closeups), names, strict=True)
    return FrameTokens(
        sequence=packet.sequence,
        camera=_camera(packet.camera, cameras),
        captured_ns=_captured_ms(packet, epoch_unix_ms) * NS_PER_MS,
        size=header.size,
        views=tuple(
            ViewTokens(slot, window, tokens, label, closeup_of=crop)
            for slot, (window, tokens, crop, label) in enumerate(seen, 1 - header.overview)
        ),
        damaged=damaged,
        images=packet.images,
    )


def used_part(packet: pb.FramePacket, damaged: Sequence[int]) -> pb.FramePacket:
    """Of a packet that `unpack` took, with these ``damaged`` layers: what it used, and no more.

    Left out are fields that this version does not know, and all layers from the first damaged one.
    """
    used = known_copy(packet)
    if damaged:
        del used.layers[min(damaged) :]
    return used


def known_copy(message: M) -> M:
    """What this version knows of a message, at any depth, in memory of its own.

    Protobuf keeps unknown fields and writes them again. And a part of a message that came holds
    the memory of the whole: fields that were deleted, and all that came beside it.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()  # type: ignore[attr-defined] # the stubs leave it out
    return type(message).FromString(copy.SerializeToString())


def _shapes(header: ViewsHeader, limits: Limits, images: int) -> list[SetShape]:
    """Of each view's token set. Raises LimitExceeded for more tokens than its grid has."""
    shapes = []
    views = zip(header.counts, header.windows, header.kinds, strict=True)
    for view, (count, window, kind) in enumerate(views):
        grid = limits.layout(header.size, window, images).grid
        check(f"tokens in view {view}", count, math.prod(grid))
        shapes.append(SetShape(count, limits.dim, grid, kind))
    return shapes


def _label_numbers(views: Sequence[ViewTokens], labels: Sequence[str]) -> list[int]:
    """1 + the index of each region's label, 0 for one that is not among ``labels``."""
    if not labels:
        return []
    numbers = {label: number for number, label in enumerate(labels, 1)}
    return [numbers.get(view.label, 0) for view in views if view.slot]


def _labels(numbers: Sequence[int], regions: int, labels: Sequence[str]) -> tuple[str, ...]:
    """The label of each region. Raises PacketError for numbers that are none."""
    if not numbers:
        return ("",) * regions
    if len(numbers) != regions:
        raise PacketError(f"{len(numbers)} labels for {regions} regions")
    wrong = [number for number in numbers if number > len(labels)]
    if wrong:
        raise PacketError(f"label {wrong[0]} of {len(labels)}")
    return tuple(labels[number - 1] if number else "" for number in numbers)


def _owned(
    sealed: bytes, sets: Sequence[TokenSet], shapes: Sequence[SetShape]
) -> Sequence[TokenSet]:
    """The sets with the owners of their merged tokens."""
    if not sealed:
        return sets
    if flaw := _flaw(sealed):
        raise PacketError(f"owners: {flaw}")
    owners = decode_owners(sealed[:-CRC_BYTES], [tokens.ids for tokens in sets], shapes)
    return [replace(tokens, owners=own) for tokens, own in zip(sets, owners, strict=True)]


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


def _layers(packet: pb.FramePacket, codec: Codec) -> tuple[list[bytes], tuple[int, ...]]:
    """The layers up to the first damaged one, and the indexes of all that are damaged.

    Raises PacketError where that leaves none, or there are more than the codec writes.
    """
    if not packet.layers:
        raise PacketError("a packet without layers")
    check("layers in a packet", len(packet.layers), MAX_LAYERS)
    if len(packet.layers) > codec.most_layers:
        raise PacketError(
            f"{codec.name} has 1 to {codec.most_layers} layers, received {len(packet.layers)}"
        )
    flaws = [_flaw(layer) for layer in packet.layers]
    if flaws[0]:
        raise PacketError(f"layer 0: {flaws[0]}")
    damaged = tuple(index for index, flaw in enumerate(flaws) if flaw)
    return [layer[:-CRC_BYTES] for layer in packet.layers[: min(damaged, default=None)]], damaged


def _flaw(sealed: bytes) -> str:
    """What happened to sealed bytes on their way; empty where they are whole."""
    if len(sealed) < CRC_BYTES:
        return f"{len(sealed)} bytes, the checksum alone has {CRC_BYTES}"
    actual = _crc32c(sealed[:-CRC_BYTES])
    stated = int.from_bytes(sealed[-CRC_BYTES:], "little")
    return "" if actual == stated else f"checksum {actual:08x}, the packet says {stated:08x}"


def _camera(index: int, cameras: Sequence[str]) -> str:
    if index >= len(cameras):
        raise PacketError(f"camera {index} of a session that named {len(cameras)}")
    return cameras[index]


def _captured_ms(packet: pb.FramePacket, epoch_unix_ms: int) -> int:
    captured = epoch_unix_ms + packet.captured_ms
    if not 0 <= captured <= MAX_UNIX_MS:
        raise PacketError(f"captured {packet.captured_ms} ms after {epoch_unix_ms}: no such time")
    return captured
