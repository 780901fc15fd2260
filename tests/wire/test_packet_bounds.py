"""What a packet may say at most and at least, on both sides of each bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from saccade.errors import CodecError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.packet import CRC_BYTES, MAX_UNIX_MS, pack, unpack
from saccade.spec import TiledGrid
from saccade.types import FrameTokens, ViewKind
from saccade.v1 import tokens_pb2 as pb
from saccade_testing.tables import every_codec
from saccade_testing.tokens import (
    CAMERAS,
    EPOCH_UNIX_MS,
    frame_tokens,
    limits_of,
    token_set,
    usual_frame,
)

CODECS = every_codec()
NS_PER_MS = 1_000_000


def packed(
    frame: FrameTokens | None = None,
    codec: str = "f16",
    epoch: int = EPOCH_UNIX_MS,
    labels: tuple[str, ...] = (),
) -> pb.FramePacket:
    frame = frame or usual_frame()
    return pack(frame, codec, epoch_unix_ms=epoch, codecs=CODECS, labels=labels)


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


def test_a_view_has_the_grid_of_its_own_size() -> None:
    """A wide frame is two tiles side by side, its tall crop two on each other and an overview."""
    tall = (0.0, 0.0, 51 / 255, 1.0)
    geometry = TiledGrid((64, 64), (4, 4), "closest-ratio", ((1, 2), (2, 1)), "none")
    limits = Limits(geometry=geometry, codecs=CODECS.names, tokens_per_view=32)
    frame = usual_frame(views=2)
    wide, high = token_set([0, 17, 31], 1, (2, 4, 4)), token_set([3, 30], 2, (2, 4, 4))
    views = (
        replace(frame.views[0], tokens=wide), replace(frame.views[1], tokens=high, window=tall),
    )  # fmt: skip
    frame = replace(frame, views=views)
    received = opened(packed(frame), limits)
    assert [view.tokens.ids.tolist() for view in received.views] == [[0, 17, 31], [3, 30]]
    assert {view.tokens.grid for view in received.views} == {(2, 4, 4)}


def test_images_say_how_a_single_picture_is_cut() -> None:
    """Alone it is an overview and two tiles; among others only the overview."""
    geometry = TiledGrid(
        (64, 64), (4, 4), "best-resolution", ((1, 2),), "first", alone=True
    )  # fmt: skip
    limits = Limits(geometry=geometry, codecs=CODECS.names, tokens_per_view=48)
    alone = frame_tokens([token_set([0, 40], grid=(3, 4, 4))])
    assert opened(packed(alone), limits).views[0].tokens.grid == (3, 4, 4)
    among = replace(frame_tokens([token_set([0, 15], grid=(1, 4, 4))]), images=3)
    packet = packed(among)
    assert packet.images == 3
    assert opened(packet, limits).views[0].tokens.grid == (1, 4, 4)
    packet.images = 5000
    with pytest.raises(LimitExceeded, match="5000 images of a packet, the limit is 1024"):
        opened(packet, limits)


def test_more_tokens_than_a_views_own_grid_has_are_refused() -> None:
    geometry = TiledGrid((64, 64), (2, 2), "closest-ratio", ((1, 1),), "none")
    limits = Limits(geometry=geometry, codecs=CODECS.names)
    packet = packed(frame_tokens([token_set(list(range(5)), grid=(16, 2, 2))]))
    assert geometry.layout((384, 640)).grid == (1, 2, 2)
    with pytest.raises(LimitExceeded, match="5 tokens in view 0, the limit is 4"):
        opened(packet, limits)


def test_labels_travel_by_number() -> None:
    frame, labels = usual_frame(views=3), ("car", "bus")
    overview, first, second = frame.views
    views = (overview, replace(first, label="bus"), replace(second, label="dog"))
    frame = replace(frame, views=views)
    packet = packed(frame, labels=labels)
    assert list(packet.labels) == [2, 0]
    limits = Limits(codecs=CODECS.names, labels=labels)
    assert [view.label for view in opened(packet, limits).views] == ["", "bus", ""]
    for wrong, said in (([3, 0], "label 3 of 2"), ([1], "1 labels for 2 regions")):
        del packet.labels[:]
        packet.labels.extend(wrong)
        with pytest.raises(PacketError, match=said):
            opened(packet, limits)


def test_a_frame_of_crops_alone_comes_back() -> None:
    frame = usual_frame()
    crops = replace(frame, views=frame.views[1:])
    received = opened(packed(crops))
    assert [view.slot for view in received.views] == [1, 2, 3, 4]
    assert [view.kind for view in received.views] == ["crop"] * 4
    assert [view.window for view in received.views] == [view.window for view in crops.views]
