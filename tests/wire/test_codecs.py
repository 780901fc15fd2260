"""Every codec keeps the codec's contract; golden bytes pin the formats."""

from __future__ import annotations

import dataclasses
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from saccade import codecs
from saccade.codecs import Codec, SetShape
from saccade.codecs.ids import decode_ids
from saccade.codecs.int8z import SCALES
from saccade.codecs.klt import Klt
from saccade.codecs.klt_table import FinerTables, FirstTables, KltTable
from saccade.codecs.rvq import Rvq
from saccade.codecs.rvq_table import RvqTable
from saccade.errors import BundleError, CodecError
from saccade.types import F32, TokenSet
from saccade_testing.codec_contract import CodecContract, LayeredContract
from saccade_testing.tables import STEP, every_codec, klt_table, projected_table, rvq_table
from saccade_testing.tokens import DIM, token_set

GOLDEN = Path(__file__).parent / "golden"
SMALLEST_NORMAL = 2.0**-14


class TestF16(CodecContract):
    name = "f16"

    def tolerance(self, features: F32) -> F32:
        magnitudes: F32 = np.maximum(np.abs(features), np.float32(SMALLEST_NORMAL))
        return np.asarray(magnitudes * 2**-11, np.float32)


class TestF32(CodecContract):
    name = "f32"

    def tolerance(self, features: F32) -> F32:
        return np.zeros_like(features)

    def test_features_out_of_range_are_not_encoded(self) -> None:
        """No finite number is out of range."""
        tokens = token_set([3, 5])
        tokens.features[1, 2] = 1e30
        (decoded,) = self.codec.decode(self.codec.encode([tokens]), [SetShape.of(tokens)])
        assert decoded.features[1, 2] == np.float32(1e30)

    def test_the_smallest_and_largest_numbers_come_back(self) -> None:
        tokens = token_set([3, 5])
        tokens.features[0, :4] = [1e-45, -1e-45, 3.4028235e38, -0.0]
        (decoded,) = self.codec.decode(self.codec.encode([tokens]), [SetShape.of(tokens)])
        assert decoded.features.tobytes() == tokens.features.tobytes()


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


class TestKlt(LayeredContract):
    name = "klt"

    def tolerance(self, features: F32) -> F32:
        # Half a step in each component, all of which may point one way, and the rounding of the
        # basis to 2^-20 for features far from the mean.
        peaks: F32 = np.max(np.abs(features), axis=1, keepdims=True, initial=0)
        half = np.float32(STEP / 2 * np.sqrt(features.shape[1]) * 1.01)
        return np.asarray(half + peaks * 2**-14, np.float32)

    def test_a_component_that_no_layer_codes_stays_at_the_mean(self) -> None:
        whole = klt_table()
        (fresh, finer), *rest = whole.layers
        kept = FirstTables(fresh.dims[1:], fresh.tables[1:])
        later = [(f, FinerTables(g.dims[1:], g.tables[1:])) for f, g in rest]
        codec = Klt(dataclasses.replace(whole, layers=((kept, finer), *later)))
        tokens = token_set([3, 5])
        (decoded,) = codec.decode(codec.encode([tokens]), [SetShape.of(tokens)])
        # The first row of a Hadamard matrix is constant: what is lost is each token's sum.
        lost = decoded.features - tokens.features
        np.testing.assert_allclose(lost - lost.mean(axis=1, keepdims=True), 0, atol=0.05)
        np.testing.assert_allclose(decoded.features.mean(axis=1), whole.mean.mean(), atol=1e-4)

    def test_decoded_features_are_the_same_bits_in_any_order_of_addition(self) -> None:
        """Every sum is of integers below 2^53, so a machine may add them as it likes."""
        codec, features = Klt(klt_table()), token_set(list(range(64))).features
        levels = codec.levels(features)
        exact = levels.astype(object) @ codec.table.basis.astype(object)
        units = levels.astype(np.float64) @ codec.table.basis.astype(np.float64)
        assert np.array_equal(units, exact.astype(np.float64))
        assert np.all(np.abs(exact) < 2**53)


class TestRvq(LayeredContract):
    name = "rvq"
    rounding = float(np.sqrt(DIM)) / 64

    def tolerance(self, features: F32) -> F32:
        """The distance to the nearest entry of the first stage: no later stage adds to it."""
        entries = rvq_table().stages[0].entries / np.float32(64)
        distances = np.linalg.norm(features[:, None] - entries, axis=2)
        return np.asarray(distances.min(axis=1, keepdims=True) * 1.001 + 0.1, np.float32)

    def test_decoded_tokens_are_sums_of_the_nearest_entries(self) -> None:
        tokens, table = token_set([3, 5]), rvq_table()
        decoded = self.codec.decode(self.codec.encode([tokens]), [SetShape.of(tokens)])[0]
        left = np.rint(tokens.features * 64)
        for stage in table.stages:
            distances = ((left[:, None] - stage.entries) ** 2).sum(axis=2)
            left = left - stage.entries[distances.argmin(axis=1)]
        np.testing.assert_array_equal(
            decoded.features, (np.rint(tokens.features * 64) - left) / np.float32(64)
        )

    def test_tokens_alike_cost_little(self) -> None:
        apart, alike = token_set(list(range(64))), token_set(list(range(64)))
        alike.features[:] = apart.features[0]
        sizes = [sum(map(len, self.codec.encode([tokens]))) for tokens in (apart, alike)]
        assert sizes[1] < sizes[0] / 1.5

    @pytest.mark.parametrize(
        ("symbols", "message"),
        [([16, 3], "the first token"), ([3, 3], "isn't coded so"), ([3, 16, 3], "isn't coded so")],
    )
    def test_symbols_have_one_reading(self, symbols: list[int], message: str) -> None:
        with pytest.raises(CodecError, match=message):
            rvq_table().stages[0].indexes(np.array(symbols))

    @given(st.lists(st.integers(0, 3), max_size=30))
    def test_symbols_come_back_as_indexes(self, indexes: list[int]) -> None:
        stage = rvq_table().stages[0]
        symbols = stage.symbols(np.array(indexes, np.int64))
        assert stage.indexes(symbols).tolist() == indexes


class TestProjectedRvq(LayeredContract):
    """Codebooks of principal components."""

    name = "rvq"
    rounding = float(np.sqrt(DIM)) / 32

    @property
    def codec(self) -> Codec:
        return Rvq(projected_table())

    def tolerance(self, features: F32) -> F32:
        """As without: of the components. And what lies beyond them."""
        table = projected_table()
        assert table.projection is not None
        basis = table.projection.basis / 2.0**20
        centred = features - table.projection.mean / 64
        components = centred @ basis.T
        entries = table.stages[0].entries / 64
        inside = np.linalg.norm(components[:, None] - entries, axis=2).min(axis=1, keepdims=True)
        beyond = np.linalg.norm(centred - components @ basis, axis=1, keepdims=True)
        return np.asarray((inside + beyond) * 1.001 + 0.1, np.float32)

    def test_what_the_components_hold_comes_back(self) -> None:
        table = projected_table()
        assert table.projection is not None
        tokens = token_set([3, 5])
        entries = table.stages[0].entries[[4, 9]]
        tokens.features[:] = table.projection.features(entries) / 64
        (decoded,) = self.codec.decode(self.codec.encode([tokens]), [SetShape.of(tokens)])
        np.testing.assert_allclose(decoded.features, tokens.features, atol=1 / 64)

    def test_decoded_features_are_the_same_bits_in_any_order_of_addition(self) -> None:
        projection = projected_table().projection
        assert projection is not None
        entries = rvq_table(8).stages[0].entries
        exact = entries.astype(object) @ projection.basis.astype(object)
        units = projection.features(entries) - projection.mean
        assert np.array_equal(units * 2.0**20, exact.astype(np.float64))
        assert np.all(np.abs(exact) < 2**53)

    def test_features_too_far_from_the_mean_are_not_encoded(self) -> None:
        tokens = token_set([3, 5])
        tokens.features[:] = 16_000  # each within reach, their first component not
        with pytest.raises(CodecError, match="a feature of magnitude 16000, rvq reaches 16384"):
            self.codec.encode([tokens])


class TestTables:
    @pytest.mark.parametrize(("dim", "rank"), [(1, 1), (32, 8), (16, 16)])
    def test_a_projected_table_comes_back_from_its_file(self, dim: int, rank: int) -> None:
        data = projected_table(dim, rank).to_bytes()
        codec = Rvq.from_bytes(data)
        assert codec.table.to_bytes() == data
        assert (codec.dim, codec.table.rank) == (dim, rank)

    @given(st.data())
    def test_a_damaged_projected_table_is_a_bundle_error_or_sound(
        self, data: st.DataObject
    ) -> None:
        raw = bytearray(projected_table(8, 4).to_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1) | st.integers(0, 200))] ^= data.draw(
            st.integers(1, 255)
        )
        try:
            codec = Rvq.from_bytes(bytes(raw))
        except BundleError:
            return
        assert codec.table.to_bytes() == raw

    @pytest.mark.parametrize("dim", [1, 2, 32])
    def test_tables_come_back_from_their_files(self, dim: int) -> None:
        klt, rvq = klt_table(dim).to_bytes(), rvq_table(dim).to_bytes()
        assert Klt.from_bytes(klt).table.to_bytes() == klt
        assert Rvq.from_bytes(rvq).table.to_bytes() == rvq

    @given(st.data(), st.sampled_from([Klt, Rvq]))
    def test_damaged_tables_are_a_bundle_error_or_sound(
        self, data: st.DataObject, kind: type[Klt | Rvq]
    ) -> None:
        table = klt_table(4) if kind is Klt else rvq_table(4)
        raw = bytearray(table.to_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, len(raw)) | st.just(len(raw)))
        try:
            codec = kind.from_bytes(bytes(raw[:cut]))
        except BundleError:
            return
        assert codec.table.to_bytes() == raw
        tokens = token_set([3, 5], dim=codec.dim)
        try:
            (decoded,) = codec.decode(codec.encode([tokens]), [SetShape.of(tokens)])
        except CodecError:
            return
        assert np.all(np.isfinite(decoded.features))

    def test_a_component_of_a_layer_that_is_not_there_is_refused(self) -> None:
        raw = bytearray(klt_table(4).to_bytes())
        raw[8 + 8 + 8 + 4 * 4 + 4 * 16 + 3] = 9
        with pytest.raises(BundleError, match="first coded in layer 9 of 3"):
            Klt.from_bytes(bytes(raw))

    @pytest.mark.parametrize("kind", [Klt, Rvq])
    def test_a_table_that_states_more_than_it_has_costs_no_memory(
        self, kind: type[Klt | Rvq]
    ) -> None:
        whole = klt_table(4).to_bytes() if kind is Klt else rvq_table(4).to_bytes()
        stated = whole[:8] + np.array([4096, 8, 8], "<u4").tobytes() + bytes(8)
        tracemalloc.start()
        with pytest.raises(BundleError):
            kind.from_bytes(stated)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 16


class TestRegistry:
    def test_a_calibrated_codec_without_its_bundle_says_what_is_missing(self) -> None:
        with pytest.raises(CodecError, match="'klt' needs tables that the bundle doesn't have"):
            codecs.get("klt")

    def test_an_unknown_name_lists_the_known(self) -> None:
        with pytest.raises(CodecError, match="unknown codec 'jpeg', known are: f16, int8z, f32"):
            codecs.get("jpeg")

    def test_an_unknown_wire_id_is_refused(self) -> None:
        with pytest.raises(CodecError, match="unknown codec id 99"):
            codecs.PLAIN.by_wire_id(99)

    def test_every_codec_is_found_both_ways(self) -> None:
        known = every_codec()
        assert known.names == codecs.names()
        wire_ids = {"f16": 0, "int8z": 1, "klt": 2, "rvq": 3, "f32": 4}
        assert wire_ids.keys() == set(known.names)
        for name, wire_id in wire_ids.items():
            assert known.by_wire_id(wire_id) is known.get(name)


def golden(name: str) -> bytes:
    return bytes.fromhex((GOLDEN / f"{name}.hex").read_text())


def golden_layers(name: str) -> list[bytes]:
    """Layers are separated by an empty line."""
    text = (GOLDEN / f"layer-{name}.hex").read_text()
    return [bytes.fromhex(layer) for layer in text.split("\n\n")]


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
        layers = every_codec(dim=4).get(name).encode(exact_sets())
        assert [layer.hex() for layer in layers] == [n.hex() for n in golden_layers(name)]

    @pytest.mark.parametrize("name", ["klt", "rvq"])
    def test_the_decoder_reads_them(self, name: str) -> None:
        """The same bits on every machine, layer by layer."""
        codec, sets = every_codec(dim=4).get(name), exact_sets()
        layers = golden_layers(name)
        shapes = [SetShape.of(tokens) for tokens in sets]
        decoded = [codec.decode(layers[: n + 1], shapes) for n in range(len(layers))]
        features = [np.concatenate([s.features for s in sets]) for sets in decoded]
        assert np.stack(features).astype("<f4").tobytes() == golden(f"features-{name}")

    @pytest.mark.parametrize(("name", "make"), [("klt", klt_table), ("rvq", rvq_table)])
    def test_a_table_file_is_the_golden_one(
        self, name: str, make: Callable[..., KltTable | RvqTable]
    ) -> None:
        assert make(4).to_bytes() == golden(f"table-{name}")

    def test_a_zstd_frame_of_another_version_is_read(self) -> None:
        """Compressors differ between versions of zstd: only reading is pinned."""
        tokens = token_set(list(range(64)))
        tokens.features[:] = np.arange(32, dtype=np.float32) * 127 / 128
        (decoded,) = codecs.get("int8z").decode([golden("layer-int8z-zstd")], [SetShape.of(tokens)])
        np.testing.assert_array_equal(
            decoded.features, np.tile(np.rint(np.arange(32) * 127 / 32) / 4, (64, 1))
        )
