"""A packet says what the frame said, in few bytes; a hostile one is refused before it costs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
import tracemalloc
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import assume, given
from hypothesis import strategies as st

from saccade.codecs import Codecs
from saccade.codecs.base import shapes_of
from saccade.codecs.klt import Klt
from saccade.codecs.rvq import Rvq
from saccade.errors import CodecError, LimitExceeded, PacketError
from saccade.limits import Limits
from saccade.packet import pack, unpack
from saccade.spec.geometry import FixedGrid
from saccade.types import FrameTokens, TokenSet, ViewKind
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import STEPS, WHOLE, ViewsHeader
from saccade_testing.tables import every_codec, klt_table, rvq_table
from saccade_testing.tokens import (
    CAMERAS,
    DIM,
    EPOCH_UNIX_MS,
    frame_tokens,
    geometry_of,
    limits_of,
    token_set,
    token_sets,
    usual_frame,
)

GOLDEN = Path(__file__).parent / "golden"
CODECS = every_codec()
LIMITS = Limits(codecs=CODECS.names)


def packed(frame: FrameTokens, codec: str = "f16", codecs: Codecs = CODECS) -> pb.FramePacket:
    return pack(frame, codec, epoch_unix_ms=EPOCH_UNIX_MS, codecs=codecs)


def opened(packet: pb.FramePacket, limits: Limits | None = None) -> FrameTokens:
    limits = limits or LIMITS
    return unpack(
        packet, limits=limits, cameras=CAMERAS, epoch_unix_ms=EPOCH_UNIX_MS, codecs=CODECS
    )


def sealed(layer: bytes) -> bytes:
    return layer + int(google_crc32c.value(layer)).to_bytes(4, "little")


def flipped(layer: bytes) -> bytes:
    return bytes([layer[0] ^ 4]) + layer[1:]


class TestRoundTrip:
    @given(sets=token_sets(dim=DIM), codec=st.sampled_from(CODECS.names))
    def test_a_frame_comes_back(self, sets: list[TokenSet], codec: str) -> None:
        frame = frame_tokens(sets)
        packet = pb.FramePacket.FromString(packed(frame, codec).SerializeToString())
        received = opened(packet, limits_of(frame, CODECS.names))
        assert dataclasses.replace(received, views=()) == dataclasses.replace(frame, views=())
        for sent, got in zip(frame.views, received.views, strict=True):
            assert got.slot == sent.slot
            assert got.window == pytest.approx(sent.window, abs=0.75 / STEPS)
            np.testing.assert_array_equal(got.tokens.ids, sent.tokens.ids)
        known = CODECS.get(codec)
        kinds: list[ViewKind] = [view.kind for view in frame.views]
        shapes = shapes_of(sets, kinds)
        decoded = known.decode(known.encode(sets, kinds=kinds), shapes)
        for expected, got in zip(decoded, received.views, strict=True):
            np.testing.assert_array_equal(got.tokens.features, expected.features)

    def test_a_clock_set_back_is_no_error(self) -> None:
        frame = dataclasses.replace(usual_frame(), captured_ns=(EPOCH_UNIX_MS - 5000) * 1_000_000)
        assert opened(packed(frame)).captured_ns == frame.captured_ns

    def test_labels_stay_behind(self) -> None:
        frame = usual_frame(views=1)
        view = dataclasses.replace(frame.views[0], label="car", score=0.9)
        received = opened(packed(dataclasses.replace(frame, views=(view,))))
        assert (received.views[0].label, received.views[0].score) == ("", 0.0)

    @given(sets=token_sets(dim=DIM), codec=st.sampled_from(CODECS.names), data=st.data())
    def test_a_closeup_comes_back_with_its_crop(
        self, sets: list[TokenSet], codec: str, data: st.DataObject
    ) -> None:
        crops = len(sets)
        looks = sorted(data.draw(st.sets(st.integers(1, crops), min_size=1)))
        frame = frame_tokens([*sets, *sets[:1], *sets[: len(looks)]])
        views = tuple(
            dataclasses.replace(v, closeup_of=looks[v.slot - crops - 1] if v.slot > crops else None)
            for v in frame.views
        )
        packet = packed(dataclasses.replace(frame, views=views), codec)
        received = opened(packet, limits_of(frame, CODECS.names))
        assert [v.closeup_of for v in received.views] == [v.closeup_of for v in views]

    def test_a_frame_without_closeups_pays_nothing_for_them(self) -> None:
        frame = usual_frame(views=3)
        near = dataclasses.replace(frame.views[2], closeup_of=1)
        closeup = dataclasses.replace(frame, views=(*frame.views[:2], near))
        # Which crop it looks into, and how many tokens it has.
        assert packed(closeup).ByteSize() == packed(frame).ByteSize() + 2

    def test_the_second_camera_is_named(self) -> None:
        packet = pack(usual_frame(), "f16", epoch_unix_ms=EPOCH_UNIX_MS, camera_index=1)
        assert opened(packet).camera == CAMERAS[1]


def merged(tokens: TokenSet, seed: int) -> TokenSet:
    """Each place that is not kept was dropped or went into some kept token."""
    generator = np.random.default_rng(seed)
    owners = generator.choice([-1, *tokens.ids], 64).astype(np.int32)
    owners[tokens.ids] = tokens.ids
    return dataclasses.replace(tokens, owners=owners)


def with_owners(frame: FrameTokens) -> FrameTokens:
    """All views but the second know what was merged."""
    views = tuple(
        dataclasses.replace(v, tokens=merged(v.tokens, v.slot)) if v.slot != 1 else v
        for v in frame.views
    )
    return dataclasses.replace(frame, views=views)


class TestOwners:
    @pytest.mark.parametrize("kept", [0, 1, 16, 64])
    def test_owners_come_back(self, kept: int) -> None:
        frame = with_owners(usual_frame(views=3, kept=kept))
        received = opened(packed(frame))
        assert received.views[1].tokens.owners is None
        for slot in (0, 2):
            np.testing.assert_array_equal(
                received.views[slot].tokens.owners, frame.views[slot].tokens.owners
            )

    def test_owners_cost_their_information_and_none_cost_nothing(self) -> None:
        """48 places of a view, one of 17 each; two bytes of protobuf, four of checksum."""
        frame = usual_frame(views=1)
        bits = 48 * math.log2(17)
        owned = with_owners(frame)
        cost = packed(owned).ByteSize() - packed(frame).ByteSize()
        assert cost <= bits / 8 + 1 + 2 + 4 + 2
        assert packed(frame).owners == b""

    @given(data=st.data(), noise=st.binary(max_size=80))
    def test_noise_is_owners_or_a_packet_error(self, data: st.DataObject, noise: bytes) -> None:
        packet = packed(usual_frame(views=2, kept=data.draw(st.sampled_from([0, 3, 16]))))
        packet.owners = sealed(noise)
        assert_refused_or_sound(packet.SerializeToString())

    def test_damaged_owners_are_refused(self) -> None:
        packet = packed(with_owners(usual_frame()))
        packet.owners = flipped(packet.owners)
        with pytest.raises(PacketError, match="owners: checksum"):
            opened(packet)

    @pytest.mark.parametrize("noise", [b"", b"\x00", b"\x04", b"\x01\xff", b"\x01" + bytes(9)])
    def test_impossible_owners_are_refused(self, noise: bytes) -> None:
        packet = packed(usual_frame(views=2))
        packet.owners = sealed(noise)
        with pytest.raises(CodecError):
            opened(packet)

    @pytest.mark.parametrize("owner", [1, 63, 64, -2])
    def test_owners_that_are_not_kept_are_not_packed(self, owner: int) -> None:
        tokens = merged(token_set([0, 9, 10]), 0)
        assert tokens.owners is not None
        tokens.owners[5] = owner
        with pytest.raises(CodecError, match=r"owners are \[64\] kept ids or -1"):
            packed(frame_tokens([tokens]))


class TestBytes:
    @pytest.mark.parametrize(("codec", "most"), [("f16", 5189), ("int8z", 2709)])
    def test_the_usual_frame_costs_features_and_little_else(self, codec: str, most: int) -> None:
        """5 views x 16 tokens x 32 features: 69 bytes of ids, windows, checksum and protobuf."""
        assert packed(usual_frame(), codec).ByteSize() <= most

    @pytest.mark.parametrize("codec", CODECS.names)
    def test_the_format_is_the_golden_one(self, codec: str) -> None:
        """One view of few features: zstd, whose bytes differ between versions, can't shorten it."""
        tokens = token_set([0, 9, 10, 11, 40, 63], dim=4)
        tokens.features[:] = np.outer([0, 1, 2, 3, -4, 64], [1, -0.5, 0.25, 127 / 128])
        packet = packed(frame_tokens([tokens], sequence=300), codec, every_codec(dim=4))
        golden = bytes.fromhex((GOLDEN / f"packet-{codec}.hex").read_text())
        assert packet.SerializeToString(deterministic=True).hex() == golden.hex()


class TestHostile:
    """What `pack` doesn't write is refused with a typed error, whatever it is."""

    @given(data=st.data(), codec=st.sampled_from(CODECS.names))
    def test_flipped_bits_are_refused_or_harmless(self, data: st.DataObject, codec: str) -> None:
        raw = bytearray(packed(usual_frame(), codec).SerializeToString())
        for _ in range(data.draw(st.integers(1, 4))):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert_refused_or_sound(bytes(raw))

    @given(cut=st.integers(0, 5000), codec=st.sampled_from(CODECS.names))
    def test_truncated_packets_are_refused(self, cut: int, codec: str) -> None:
        raw = packed(usual_frame(), codec).SerializeToString()
        assume(cut < len(raw))
        assert_refused_or_sound(raw[:cut])

    @given(
        views=st.binary(max_size=60),
        codec=st.integers(0, 4),
        layers=st.lists(st.binary(max_size=200), max_size=3),
    )
    def test_noise_under_a_right_checksum_is_refused_or_sound(
        self, views: bytes, codec: int, layers: list[bytes]
    ) -> None:
        packet = pb.FramePacket(views=views, codec=codec, layers=[sealed(n) for n in layers])
        assert_refused_or_sound(packet.SerializeToString())

    @given(data=st.data(), codec=st.sampled_from(CODECS.names))
    def test_damage_under_a_right_checksum_is_refused_or_sound(
        self, data: st.DataObject, codec: str
    ) -> None:
        packet = packed(usual_frame(views=2), codec)
        which = data.draw(st.integers(0, len(packet.layers) - 1))
        layer = bytearray(packet.layers[which][:-4])
        for _ in range(data.draw(st.integers(1, 4))):
            layer[data.draw(st.integers(0, len(layer) - 1))] = data.draw(st.integers(0, 255))
        end = data.draw(st.integers(0, len(layer)) | st.just(len(layer)))
        packet.layers[which] = sealed(bytes(layer[:end]))
        assert_refused_or_sound(packet.SerializeToString())

    @given(codec=st.sampled_from(["klt", "rvq"]), seed=st.integers(0, 1000))
    def test_layers_of_other_tables_are_refused_or_sound(self, codec: str, seed: int) -> None:
        other = Codecs([Klt(klt_table(layers=2)), Rvq(rvq_table(stages=6, entries=50))])
        frame = frame_tokens([token_set(list(range(seed % 64)), seed)])
        packet = packed(frame, codec, other)
        assert_refused_or_sound(packet.SerializeToString())

    @pytest.mark.parametrize("codec", ["klt", "rvq"])
    def test_many_tokens_in_no_bytes_cost_no_more_than_the_tokens(self, codec: str) -> None:
        """All places of a large grid, each of the symbols that a stream of nothing stands for."""
        limits = dataclasses.replace(LIMITS, views=8, tokens_per_view=4096)
        limits = dataclasses.replace(limits, geometry=geometry_of((1, 64, 64)))
        header = ViewsHeader((384, 640), (4096,) * 8, (WHOLE,) * 8)
        wire_id = CODECS.get(codec).wire_id
        packet = pb.FramePacket(views=header.to_bytes(), codec=wire_id, layers=[sealed(bytes(2))])
        tracemalloc.start()
        started = time.perf_counter()
        with contextlib.suppress(CodecError):
            assert opened(packet, limits).kept == 8 * 4096
        seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seconds < 5
        assert peak < 16 * 8 * 4096 * limits.dim * 4

    def test_a_flipped_bit_in_a_layer_is_told_by_its_checksum(self) -> None:
        packet = packed(usual_frame())
        layer = bytearray(packet.layers[0])
        layer[700] ^= 4
        packet.layers[0] = bytes(layer)
        with pytest.raises(PacketError, match=r"layer 0: checksum \w{8}, the packet says \w{8}"):
            opened(packet)

    def test_a_damaged_base_layer_is_refused_whatever_follows(self) -> None:
        packet = packed(usual_frame(), "klt")
        packet.layers[0] = flipped(packet.layers[0])
        with pytest.raises(PacketError, match="layer 0: checksum"):
            opened(packet)

    @pytest.mark.parametrize("codec", ["klt", "rvq"])
    @pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
    def test_a_damaged_later_layer_is_named_and_what_came_before_is_used(
        self, codec: str, damage: str
    ) -> None:
        frame = usual_frame()
        packet = packed(frame, codec)
        last = len(packet.layers) - 1
        packet.layers[last] = {
            "flipped": flipped(packet.layers[last]),
            "cut": packet.layers[last][:-1],
            "empty": b"",
        }[damage]
        received = opened(packet)
        assert received.damaged == (last,)
        fewer = pack(frame, codec, epoch_unix_ms=EPOCH_UNIX_MS, codecs=CODECS, layers=last)
        for got, expected in zip(received.views, opened(fewer).views, strict=True):
            np.testing.assert_array_equal(got.tokens.features, expected.tokens.features)

    def test_what_follows_a_damaged_layer_is_not_used(self) -> None:
        packet = packed(usual_frame(), "klt")
        packet.layers[1] = flipped(packet.layers[1])
        received = opened(packet)
        assert received.damaged == (1,)
        del packet.layers[1:]
        for got, expected in zip(received.views, opened(packet).views, strict=True):
            np.testing.assert_array_equal(got.tokens.features, expected.tokens.features)

    def test_several_damaged_layers_are_all_named(self) -> None:
        packet = packed(usual_frame(), "klt")
        packet.layers[1:] = [flipped(layer) for layer in packet.layers[1:]]
        assert opened(packet).damaged == (1, 2)

    def test_a_whole_layer_that_its_codec_did_not_write_is_refused(self) -> None:
        packet = packed(usual_frame(), "klt")
        packet.layers[1] = sealed(b"noise" * 20)
        with pytest.raises(CodecError, match="entropy-coded stream"):
            opened(packet)

    def test_features_that_are_not_finite_are_refused(self) -> None:
        packet = packed(usual_frame())
        layer = packet.layers[0][:-4]
        packet.layers[0] = sealed(layer[:-2] + np.array([np.nan], "<f2").tobytes())
        with pytest.raises(CodecError, match="features that are not finite"):
            opened(packet)

    def test_a_header_of_many_tokens_costs_no_memory(self) -> None:
        geometry = geometry_of((1, 1024, 1024))
        limits = Limits(views=1000, tokens_per_view=1 << 20, geometry=geometry, dim=4096)
        header = ViewsHeader((384, 640), (1 << 20,) * 1000, (WHOLE,) * 1000)
        packet = pb.FramePacket(views=header.to_bytes(), layers=[sealed(bytes(125))])
        tracemalloc.start()
        with pytest.raises(CodecError, match="at least 8589934592000 bytes are needed"):
            opened(packet, limits)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"views": 2}, LimitExceeded, "received 5 views, the limit is 2"),
            ({"tokens_per_view": 9}, LimitExceeded, "received 16 tokens in view 0, the limit is 9"),
            (
                {"geometry": FixedGrid((48, 80), (3, 5))},
                LimitExceeded,
                "received 16 tokens in view 0, the limit is 15",
            ),
            ({"message_bytes": 99}, LimitExceeded, r"received \d+ bytes in a packet, .* 99"),
            ({"codecs": ("int8z",)}, PacketError, "codec 'f16' was not agreed, only int8z"),
            ({"dim": 31}, CodecError, "80 tokens of 31 half floats are 4960 bytes, received 5120"),
        ],
    )
    def test_what_was_not_agreed_is_refused(
        self, change: dict[str, object], error: type[Exception], message: str
    ) -> None:
        limits = dataclasses.replace(LIMITS, **change)  # type: ignore[arg-type]  # by name
        with pytest.raises(error, match=message):
            opened(packed(usual_frame()), limits)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"codec": 77}, "unknown codec id 77"),
            ({"camera": 2}, "camera 2 of a session that named 2"),
            ({"captured_ms": -(1 << 62)}, "no such time"),
            ({"captured_ms": 1 << 62}, "no such time"),
            ({"layers": []}, "a packet without layers"),
            ({"layers": [b"abc"]}, "layer 0: 3 bytes, the checksum alone has 4"),
            ({"views": b""}, "the views header ends after 0 bytes, 1 needed"),
            ({"views": b"\xff" * 9}, "a varint of more than 4 bytes"),
        ],
    )
    def test_impossible_fields_are_refused(self, change: dict[str, object], message: str) -> None:
        packet = packed(usual_frame())
        for name in change:
            packet.ClearField(name)  # type: ignore[arg-type]  # names of fields
        packet.MergeFrom(pb.FramePacket(**change))  # type: ignore[arg-type]  # by name
        with pytest.raises(PacketError, match=message):
            opened(packet)

    def test_too_many_layers_are_refused(self) -> None:
        packet = packed(usual_frame())
        packet.layers.extend([sealed(b"")] * 16)
        with pytest.raises(LimitExceeded, match="received 17 layers in a packet, the limit is 16"):
            opened(packet)


class TestPackRefuses:
    def test_views_out_of_order(self) -> None:
        frame = usual_frame()
        with pytest.raises(PacketError, match=r"not \[4, 3, 2, 1, 0\]"):
            packed(dataclasses.replace(frame, views=frame.views[::-1]))

    def test_a_closeup_before_a_crop(self) -> None:
        frame = usual_frame(views=4)
        views = [dataclasses.replace(v, closeup_of=1 if v.slot == 2 else None) for v in frame.views]
        with pytest.raises(PacketError, match=r"after all crops, not \[None, None, 1, None\]"):
            packed(dataclasses.replace(frame, views=tuple(views)))

    @pytest.mark.parametrize("crop", [0, 3, 7])
    def test_a_closeup_of_no_crop(self, crop: int) -> None:
        frame = usual_frame(views=4)
        near = dataclasses.replace(frame.views[3], closeup_of=crop)
        with pytest.raises(PacketError, match=rf"close-ups of crops \[{crop}\]"):
            packed(dataclasses.replace(frame, views=(*frame.views[:3], near)))

    def test_a_frame_without_views(self) -> None:
        with pytest.raises(PacketError, match=r"not \[\]"):
            packed(dataclasses.replace(usual_frame(), views=()))

    def test_slots_that_begin_after_the_first_crop(self) -> None:
        views = usual_frame().views[2:]
        with pytest.raises(PacketError, match=r"not \[2, 3, 4\]"):
            packed(dataclasses.replace(usual_frame(), views=views))

    def test_an_unknown_codec(self) -> None:
        with pytest.raises(CodecError, match="unknown codec 'png'"):
            packed(usual_frame(), "png")


def assert_refused_or_sound(raw: bytes) -> None:
    try:
        received = opened(pb.FramePacket.FromString(raw))
    except (PacketError, LimitExceeded, DecodeError):  # the last where it is no message at all
        return
    for view in received.views:
        assert np.all(np.isfinite(view.tokens.features))
        assert len(view.tokens.ids) <= 64
