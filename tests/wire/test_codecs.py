"""Every codec keeps the codec's contract; golden bytes pin the formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zstandard

from saccade import codecs
from saccade.codecs import SetShape
from saccade.codecs.ids import decode_ids
from saccade.codecs.int8z import SCALES
from saccade.errors import CodecError
from saccade.nouns import F32, TokenSet
from saccade_testing.codec_contract import CodecContract
from saccade_testing.tokens import token_set

GOLDEN = Path(__file__).parent / "golden"
SMALLEST_NORMAL = 2.0**-14


class TestF16(CodecContract):
    name = "f16"

    def tolerance(self, features: F32) -> F32:
        magnitudes: F32 = np.maximum(np.abs(features), np.float32(SMALLEST_NORMAL))
        return np.asarray(magnitudes * 2**-11, np.float32)


class TestInt8z(CodecContract):
    name = "int8z"

    def tolerance(self, features: F32) -> F32:
        peaks: F32 = np.max(np.abs(features), axis=1, keepdims=True, initial=0)
        # Half a step of 1/127, the scale at most 2^(1/8) too large, and float32's own rounding;
        # below the smallest scale, half of that.
        return np.asarray(peaks * (0.5 / 127 * 2**0.125 * 1.001) + 2**-21, np.float32)

    def is_a_layer(self, data: bytes, sets: list[TokenSet]) -> bool:
        # A compressed layer that is filled up to the raw one's length reads as a raw one.
        shapes = [SetShape.of(tokens) for tokens in sets]
        _, start = decode_ids(data, shapes)
        return len(data) == start + sum(shape.count * (1 + shape.dim) for shape in shapes)

    def test_scales_are_eight_per_octave(self) -> None:
        assert SCALES[160] == 1.0
        np.testing.assert_array_equal(SCALES[8:], SCALES[:-8] * 2)
        assert np.all(np.diff(SCALES) > 0)

    def test_repetitive_features_are_compressed(self) -> None:
        tokens = token_set(list(range(64)))
        tokens.features[:] = np.linspace(-1, 1, 32, dtype=np.float32)
        (layer,) = self.codec.encode([tokens])
        assert len(layer) < 64 + 32 * 8

    def test_a_frame_that_states_another_size_is_not_decompressed(self) -> None:
        shape = SetShape(64, 32, (1, 8, 8))
        parameters = zstandard.ZstdCompressionParameters.from_level(
            19, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=True
        )
        bomb = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(1 << 26))
        assert len(bomb) < 2 * shape.count * shape.dim * 2
        # Flags byte, then no rank bytes (all 64 of 64 places), then 64 scales.
        layer = bytes(1) + bytes(64) + bomb[: 64 * 32 - 1]
        with pytest.raises(
            CodecError, match="2048 bytes of features, the zstd frame states 67108864"
        ):
            self.codec.decode([layer], [shape])

    def test_a_frame_of_unknown_size_is_not_decompressed(self) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
        )
        body = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(2048))
        with pytest.raises(CodecError, match="the zstd frame states"):
            self.codec.decode([bytes(65) + body], [SetShape(64, 32, (1, 8, 8))])


class TestRegistry:
    def test_an_unknown_name_lists_the_known(self) -> None:
        with pytest.raises(CodecError, match="unknown codec 'jpeg', known are: f16, int8z"):
            codecs.get("jpeg")

    def test_an_unknown_wire_id_is_refused(self) -> None:
        with pytest.raises(CodecError, match="unknown codec id 99"):
            codecs.by_wire_id(99)

    def test_every_codec_is_found_both_ways(self) -> None:
        for name in codecs.names():
            assert codecs.by_wire_id(codecs.get(name).wire_id) is codecs.get(name)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def exact_sets() -> list[TokenSet]:
    """Values that float32 and both codecs hold exactly; one set in runs, one scattered."""
    scattered = token_set([0, 9, 10, 11, 40, 63], dim=4)
    scattered.features[:] = np.outer([0, 1, 2, 3, -4, 64], [1, -0.5, 0.25, 127 / 128])
    together = token_set(list(range(24, 40)), dim=4)
    together.features[:] = np.arange(-32, 32).reshape(16, 4) / 32
    return [scattered, together]


class TestGoldenBytes:
    @pytest.mark.parametrize("name", codecs.names())
    def test_the_encoder_writes_them(self, name: str) -> None:
        (layer,) = codecs.get(name).encode(exact_sets())
        assert layer.hex() == golden(f"layer-{name}").hex()

    def test_a_zstd_frame_of_another_version_is_read(self) -> None:
        """Compressors differ between versions of zstd: only reading is pinned."""
        tokens = token_set(list(range(64)))
        tokens.features[:] = np.arange(32, dtype=np.float32) * 127 / 128
        (decoded,) = codecs.get("int8z").decode([golden("layer-int8z-zstd")], [SetShape.of(tokens)])
        np.testing.assert_array_equal(
            decoded.features, np.tile(np.rint(np.arange(32) * 127 / 32) / 4, (64, 1))
        )
