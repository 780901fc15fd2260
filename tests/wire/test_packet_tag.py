"""A packet's tag is of every bit of the packet and of its session, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import ConfigError, TagError
from saccade.packet_tag import (
    KEY_BYTES,
    TAG_BYTES,
    SignedSession,
    check_tag,
    new_key,
    parse_key,
    tag_of,
)
from saccade.v1 import tokens_pb2

KEY = bytes(range(KEY_BYTES))
SESSION = SignedSession("kerb", 7, 1_700_000_000_000, ("north", "south"), bytes(range(32)))
PACKET = tokens_pb2.FramePacket(
    sequence=3,
    captured_ms=-40,
    views=b"views",
    codec=2,
    layers=[b"base layer", b"second"],
    camera=1,
    owners=b"owners",
    images=2,
    labels=[0, 3],
)


def signed(packet: tokens_pb2.FramePacket) -> tokens_pb2.FramePacket:
    packet = tokens_pb2.FramePacket.FromString(packet.SerializeToString())
    packet.tag = tag_of(packet, SESSION, KEY)
    return packet


def test_the_tag_is_the_same_for_ever() -> None:
    assert tag_of(PACKET, SESSION, KEY).hex() == "6dfc5be8062ca370"


def test_a_signed_packet_is_the_device_s_and_takes_ten_bytes_more() -> None:
    packet = signed(PACKET)
    check_tag(packet, SESSION, KEY)
    assert len(packet.tag) == TAG_BYTES
    assert packet.ByteSize() - PACKET.ByteSize() == 10


def test_every_field_of_a_packet_is_signed() -> None:
    for field in tokens_pb2.FramePacket.DESCRIPTOR.fields:
        if field.name == "tag":
            continue
        changed = signed(PACKET)
        if field.name in ("layers", "labels"):
            getattr(changed, field.name)[1] = b"secoNd" if field.name == "layers" else 9
        elif field.type == FieldDescriptor.TYPE_BYTES:
            setattr(changed, field.name, getattr(changed, field.name) + b"x")
        else:
            setattr(changed, field.name, getattr(changed, field.name) + 1)
        with pytest.raises(TagError, match="was changed on its way, or the key is another"):
            check_tag(changed, SESSION, KEY)


@given(at=st.integers(0, PACKET.ByteSize() * 8 - 1))
def test_no_flipped_bit_passes(at: int) -> None:
    """Where what is flipped still parses, and says something else."""
    raw = bytearray(PACKET.SerializeToString())
    raw[at // 8] ^= 1 << at % 8
    try:
        flipped = tokens_pb2.FramePacket.FromString(bytes(raw))
    except DecodeError:
        return
    flipped.tag = tag_of(PACKET, SESSION, KEY)
    flipped.DiscardUnknownFields()  # type: ignore[attr-defined]
    with pytest.raises(TagError):
        check_tag(flipped, SESSION, KEY)


@pytest.mark.parametrize(
    "other",
    [
        replace(SESSION, device="mast"),
        replace(SESSION, boot=8),
        replace(SESSION, epoch_unix_ms=1_700_000_000_001),
        replace(SESSION, cameras=("south", "north")),
        replace(SESSION, cameras=("northsouth",)),
        replace(SESSION, cameras=("north", "south", "")),
        replace(SESSION, token_digest=bytes(32)),
    ],
)
def test_a_packet_is_signed_for_one_session(other: SignedSession) -> None:
    with pytest.raises(TagError):
        check_tag(signed(PACKET), other, KEY)


def test_what_a_newer_version_adds_is_not_signed_and_not_kept() -> None:
    more = signed(PACKET).SerializeToString() + bytes([0xFA, 0x07, 1, 0])  # field 127
    check_tag(tokens_pb2.FramePacket.FromString(more), SESSION, KEY)


def test_another_key_and_no_tag_are_told_apart() -> None:
    with pytest.raises(TagError, match="the key is another"):
        check_tag(signed(PACKET), SESSION, new_key())
    with pytest.raises(TagError, match="has no tag, and 'kerb' has a key"):
        check_tag(PACKET, SESSION, KEY)
    shorter = signed(PACKET)
    shorter.tag = shorter.tag[:4]
    with pytest.raises(TagError):
        check_tag(shorter, SESSION, KEY)


@pytest.mark.parametrize("text", ["", "00" * 31, "00" * 33, "zz" * 32, "geheim"])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits") as caught:
        parse_key(text, "key.txt")
    assert not text or text not in str(caught.value)
    assert parse_key(KEY.hex() + "\n", "key.txt") == KEY
