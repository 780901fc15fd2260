"""What a packet may say at most and at least, on both sides of each bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saccade.errors import CodecError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.packet import CRC_BYTES, MAX_UNIX_MS, pack, unpack
from saccade.types import FrameTokens, ViewKind
from saccade.v1 import tokens_pb2 as pb
from saccade_testing.tables import every_codec
from saccade_testing.tokens import CAMERAS, EPOCH_UNIX_MS, limits_of, usual_frame

CODECS = every_codec()
NS_PER_MS = 1_000_000


def packed(
    frame: FrameTokens | None = None, codec: str = "f16", epoch: int = EPOCH_UNIX_MS
) -> pb.FramePacket:
    return pack(frame or usual_frame(), codec, epoch_unix_ms=epoch, codecs=CODECS)


def opened(
    packet: pb.FramePacket, limits: Limits | None = None, epoch: int = EPOCH_UNIX_MS
) -> FrameTokens:
    return unpack(
        packet,
        limits=limits or Limits(codecs=CODECS.names),
        cameras=CAMERAS,
        epoch_unix_ms=epoch,
        codecs=CODECS,
    )


def test_a_packet_carries_the_frames_own_numbers() -> None:
    frame = replace(usual_frame(), sequence=987_654, captured_ns=(EPOCH_UNIX_MS + 7) * NS_PER_MS)
    packet = packed(frame)
    assert (packet.sequence, packet.captured_ms, packet.camera) == (987_654, 7, 0)
    assert packet.owners == b""
    received = opened(packet)
    assert (received.sequence, received.size, received.damaged) == (987_654, (384, 640), ())
    assert received.captured_ns == frame.captured_ns


def test_capture_times_are_cut_to_whole_milliseconds() -> None:
    for extra_ns in (0, 1, 999_999):
        frame = replace(usual_frame(), captured_ns=(EPOCH_UNIX_MS + 5) * NS_PER_MS + extra_ns)
        assert packed(frame).captured_ms == 5


@pytest.mark.parametrize("captured_ms", [0, MAX_UNIX_MS])
def test_times_from_1970_to_what_64_bits_of_nanoseconds_hold_are_read(captured_ms: int) -> None:
    packet = packed()
    packet.captured_ms = captured_ms - EPOCH_UNIX_MS
    assert opened(packet).captured_ns == captured_ms * NS_PER_MS


@pytest.mark.parametrize("captured_ms", [-1, MAX_UNIX_MS + 1])
def test_one_millisecond_beyond_is_refused(captured_ms: int) -> None:
    packet = packed()
    packet.captured_ms = captured_ms - EPOCH_UNIX_MS
    message = f"captured {packet.captured_ms} ms after {EPOCH_UNIX_MS}: no such time"
    with pytest.raises(PacketError, match=message):
        opened(packet)


def test_the_latest_time_fits_into_64_bits_of_nanoseconds() -> None:
    assert MAX_UNIX_MS * NS_PER_MS < 1 << 63 <= (MAX_UNIX_MS + 2) * NS_PER_MS


def test_limits_that_just_hold_the_frame_let_it_pass() -> None:
    frame = usual_frame()
    limits = replace(limits_of(frame, CODECS.names), message_bytes=packed(frame).ByteSize())
    assert opened(packed(frame), limits).kept == frame.kept
    with pytest.raises(LimitExceeded, match=rf"bytes in a packet, the limit is {99}"):
        opened(packed(frame), replace(limits, message_bytes=99))
    for name in ("message_bytes", "views", "tokens_per_view"):
        tighter = replace(limits, **{name: getattr(limits, name) - 1})
        with pytest.raises(LimitExceeded, match=f"the limit is {getattr(tighter, name)}"):
            opened(packed(frame), tighter)


def test_a_layer_is_its_codecs_bytes_and_four_of_checksum() -> None:
    frame = usual_frame()
    sets = [view.tokens for view in frame.views]
    kinds: list[ViewKind] = [view.kind for view in frame.views]
    for name in CODECS.names:
        layers = CODECS.get(name).encode(sets, kinds=kinds)
        sealed = packed(frame, name).layers
        assert [layer[:-CRC_BYTES] for layer in sealed] == list(layers)
        assert {len(s) - len(p) for s, p in zip(sealed, layers, strict=True)} == {4}


def test_owners_shorter_than_their_checksum_are_refused() -> None:
    packet = packed()
    packet.owners = b"abc"
    with pytest.raises(PacketError, match="owners: 3 bytes, the checksum alone has 4"):
        opened(packet)


def test_owners_of_exactly_a_checksum_are_told_from_damaged_ones() -> None:
    packet = packed()
    packet.owners = bytes(4)  # the checksum of nothing is 0
    with pytest.raises(CodecError, match="owners: flags 0x0 for 5 views"):
        opened(packet)


def test_the_last_named_camera_is_known_and_the_next_is_not() -> None:
    packet = packed()
    packet.camera = len(CAMERAS) - 1
    assert opened(packet).camera == CAMERAS[-1]
    packet.camera = len(CAMERAS)
    with pytest.raises(PacketError, match="camera 2 of a session that named 2"):
        opened(packet)


def test_several_grids_are_named_in_the_refusal() -> None:
    frame = usual_frame(views=2)
    small = replace(frame.views[1].tokens, grid=(1, 4, 16))
    views = (frame.views[0], replace(frame.views[1], tokens=small))
    with pytest.raises(PacketError, match=r"one grid, not \[\(1, 4, 16\), \(1, 8, 8\)\]"):
        packed(replace(frame, views=views))
