"""Entropy coding, ids and tables of codecs against values worked out by hand or slowly."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs import SetShape, rans
from saccade.codecs.base import MAX_LAYERS, shapes_of, stack, total, unstack
from saccade.codecs.bits import BitReader, BitWriter
from saccade.codecs.frequencies import MAX_SYMBOLS, TOTAL, Frequencies
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.codecs.int8z import LARGEST, SCALES, Int8z
from saccade.codecs.klt import Klt
from saccade.codecs.klt_levels import MAX_LEVEL, coarser
from saccade.codecs.klt_table import MAX_REACH, KltTable
from saccade.codecs.owners import decode_owners, encode_owners
from saccade.codecs.position_model import BUCKETS, MAX_PLACES, PlaceModel, bucket
from saccade.codecs.rvq import Rvq
from saccade.codecs.rvq_table import MAX_ENTRY, MAX_FEATURE, RvqTable
from saccade.codecs.table_file import TableReader, TableWriter
from saccade.errors import BundleError, CodecError
from saccade.types import VIEW_KINDS, TokenSet
from saccade_testing.tables import STEP, klt_table, rvq_table
from saccade_testing.tokens import token_set

EIGHT: tuple[int, int, int] = (1, 8, 8)


def ints(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    return np.array(values, np.int32)


class TestFrequencies:
    def test_starts_are_the_sums_of_the_widths_before(self) -> None:
        table = Frequencies.of([1, 2, TOTAL - 3])
        assert (table.widths, table.starts) == ((1, 2, TOTAL - 3), (0, 1, 3))

    def test_from_two_symbols_to_a_quarter_of_the_range(self) -> None:
        assert len(Frequencies.of([1, TOTAL - 1]).widths) == 2
        assert len(Frequencies.of([4] * MAX_SYMBOLS).widths) == MAX_SYMBOLS == 16_384
        with pytest.raises(ValueError, match="16385 symbols, of which the rarest has 1"):
            Frequencies.of([1] * MAX_SYMBOLS + [TOTAL - MAX_SYMBOLS])

    def test_a_table_of_nothing_is_refused(self) -> None:
        message = "0 symbols, of which the rarest has 0, and all 0 of 65536"
        with pytest.raises(ValueError, match=message):
            Frequencies.of([])

    def test_shares_are_in_proportion_and_the_most_frequent_takes_the_rest(self) -> None:
        # 65,533 to share by 1:2:4, rounded down, one more each: 9,362 + 18,724 + 37,448 = 65,534.
        assert Frequencies.fit([1, 2, 4]).widths == (9_362, 18_724, 37_450)
        assert Frequencies.fit([0, 0]).widths == (TOTAL - 1, 1)  # never seen: the first
        assert Frequencies.fit([5, 5, 5]).widths == (21_846, 21_845, 21_845)
        assert Frequencies.fit([0, 7]).widths == (1, TOTAL - 1)


class TestRans:
    def slow(self, slots: list[tuple[int, int]]) -> int:
        """The state without words: Duda's formula, backwards."""
        state = 0
        for start, width in reversed(slots):
            state = (state // width) * TOTAL + start + state % width
        return state

    @given(st.lists(st.integers(0, 3), max_size=14))
    def test_a_short_stream_is_the_state_of_the_formula(self, symbols: list[int]) -> None:
        table = Frequencies.of([1 << 14, 1 << 14, 1 << 14, 1 << 14])
        slots = [(table.starts[s], table.widths[s]) for s in symbols]
        state = self.slow(slots)
        data = rans.encode([s for s, _ in slots], [w for _, w in slots])
        assert data == state.to_bytes(math.ceil(state.bit_length() / 8), "little")

    def test_a_long_stream_has_six_bytes_of_state_and_words_of_two(self) -> None:
        table = Frequencies.of([1] * 16_383 + [TOTAL - 16_383])
        for count, size in ((2, 4), (3, 6), (4, 8), (10, 20)):
            symbols = [16_381] * count
            data = rans.encode([16_381] * count, [1] * count)
            assert len(data) == size
            decoder = rans.Decoder(data)
            assert decoder.take(table, count) == symbols
            decoder.finish()

    def test_a_decision_reads_as_a_symbol_of_two(self) -> None:
        widths = [40_000, 1, TOTAL - 1, 30_000] * 10
        wanted = [True, False, False, True, False] * 8
        slots = [(0, w) if yes else (w, TOTAL - w) for w, yes in zip(widths, wanted, strict=True)]
        data = rans.encode([s for s, _ in slots], [w for _, w in slots])
        decoder = rans.Decoder(data)
        assert [decoder.flag(width) for width in widths] == wanted
        decoder.finish()

    def test_six_bytes_are_a_state_and_eight_a_state_and_a_word(self) -> None:
        rans.Decoder(b"\x01\x02\x03\x04\x05\x06")
        rans.Decoder(b"\x00\x00\x00\x00\x01\x00\x07\x08")  # 2^32, the least with words
        with pytest.raises(CodecError, match="impossible state"):
            rans.Decoder(b"\xff\xff\xff\xff\x00\x00\x07\x08")
        with pytest.raises(CodecError, match="impossible state"):
            rans.Decoder(b"\x01\x02\x03\x04\x05\x00")
        with pytest.raises(CodecError, match="of 9 bytes ends within a word"):
            rans.Decoder(b"\x01" * 9)


class TestBits:
    def test_gamma_codes_are_as_published(self) -> None:
        for number, code in ((1, "1"), (2, "010"), (3, "011"), (4, "00100"), (9, "0001001")):
            writer = BitWriter()
            writer.gamma(number)
            assert writer.length == len(code)
            assert writer.to_bytes() == int(code.ljust(8, "0"), 2).to_bytes(1, "big")

    def test_bits_are_appended_highest_first(self) -> None:
        writer, other = BitWriter(), BitWriter()
        writer.put(0b101, 3)
        other.put(0b0110, 4)
        other.put(0b11, 2)
        writer.append(other)
        assert writer.length == 9
        assert writer.to_bytes() == bytes([0b10101101, 0b10000000])
        reader = BitReader(writer.to_bytes())
        assert [reader.bit() for _ in range(9)] == [1, 0, 1, 0, 1, 1, 0, 1, 1]
        assert reader.finish() == 2
        with pytest.raises(CodecError, match="bits end after 2 bytes"):
            reader.bit()

    @pytest.mark.parametrize("largest", [1, 2, 3, 4, 7, 8, 9])
    def test_the_largest_is_read_and_one_more_is_not(self, largest: int) -> None:
        for number in (largest, largest + 1):
            writer = BitWriter()
            writer.gamma(number)
            reader = BitReader(writer.to_bytes() + b"\xff")
            if number == largest:
                assert reader.gamma(largest) == number
            else:
                with pytest.raises(CodecError, match=f"at most {largest} fits"):
                    reader.gamma(largest)


class TestIds:
    def test_the_rank_is_the_place_among_all_subsets(self) -> None:
        """Two of five places: 10 subsets in one byte behind the form's byte."""
        shape = SetShape(2, 1, (1, 1, 5))
        for index, places in enumerate(itertools.combinations(range(5), 2)):
            assert encode_ids([ints(*places)], [shape]) in (bytes([0, index]),)

    def test_ranks_of_views_are_the_digits_of_one_number(self) -> None:
        shapes = [SetShape(2, 1, (1, 1, 5)), SetShape(1, 1, (1, 1, 5))]
        # Digits 9 of 10 and 3 of 5: 9 + 3 * 10.
        data = encode_ids([ints(3, 4), ints(3)], shapes)
        assert data == bytes([0, 39])
        decoded, end = decode_ids(data, shapes)
        assert ([places.tolist() for places in decoded], end) == ([[3, 4], [3]], 2)
        with pytest.raises(CodecError, match="rank beyond the 6 bits of its range"):
            decode_ids(bytes([0, 50]), shapes)

    def test_runs_are_gaps_and_lengths(self) -> None:
        """20..35 of 64: a gap of 20 is gamma 21, a run of 16 is gamma 16: 9 + 9 bits."""
        shape = SetShape(16, 1, EIGHT)
        data = encode_ids([np.arange(20, 36, dtype=np.int32)], [shape])
        bits = "000010101" + "000010000"
        assert data == bytes([1]) + int(bits.ljust(24, "0"), 2).to_bytes(3, "big")

    def test_a_second_run_is_counted_from_behind_the_place_after_the_first(self) -> None:
        shape = SetShape(32, 1, (1, 16, 16))
        places = [*range(16), *range(18, 34)]
        data = encode_ids([ints(*places)], [shape])
        bits = "1" + "000010000" + "010" + "000010000"  # gap 0, run 16, gap 18 - 17, run 16
        assert data == bytes([1]) + int(bits.ljust(24, "0"), 2).to_bytes(3, "big")

    def test_the_same_places_are_a_form_and_nothing_else(self) -> None:
        shapes = [SetShape(2, 1, (1, 1, 5))] * 3
        data = encode_ids([ints(1, 3)] * 3, shapes)
        # Forms 0, 2, 2 in radices 2, 3, 3; the rank of (1, 3) is 5.
        assert data == bytes([0 + 2 * 2 + 2 * 2 * 3, 5])

    def test_another_count_or_grid_is_never_the_same(self) -> None:
        two, wide = SetShape(1, 1, (1, 1, 5)), SetShape(1, 1, (1, 5, 1))
        assert two.keeps_as(SetShape(1, 9, (1, 1, 5), "crop"))
        assert not two.keeps_as(wide)
        assert not two.keeps_as(SetShape(2, 1, (1, 1, 5)))
        data = encode_ids([ints(3), ints(3)], [two, wide])
        assert data == bytes([0, 3 + 3 * 5])

    def test_no_tokens_and_all_tokens_have_one_subset(self) -> None:
        shapes = [SetShape(0, 1, (1, 1, 5)), SetShape(5, 1, (1, 1, 5))]
        data = encode_ids([ints(), ints(0, 1, 2, 3, 4)], shapes)
        assert data == bytes([0])
        assert [p.tolist() for p in decode_ids(data, shapes)[0]] == [[], [0, 1, 2, 3, 4]]


class TestPlaces:
    def test_buckets_are_eighths_of_what_is_left(self) -> None:
        assert [bucket(left, 64) for left in (1, 7, 8, 15, 16, 63)] == [0, 0, 1, 1, 2, 7]
        assert [bucket(left, 3) for left in (1, 2)] == [2, 5]

    def test_an_even_view_is_decided_by_what_is_left_of_the_places(self) -> None:
        shape = SetShape(1, 1, (1, 1, 4))
        starts, widths = PlaceModel.none().slots([ints(2)], [shape])
        # The form "evenly", then not 1 of 4, not 1 of 3, and 1 of 2.
        quarter, third, half = TOTAL // 4, TOTAL // 3, TOTAL // 2
        assert starts[1:] == [quarter, third, 0]
        assert widths[1:] == [TOTAL - quarter, TOTAL - third, half]
        assert (starts[0], widths[0]) == (60_000, 4_512)

    def test_an_expected_view_is_decided_by_the_models_shares(self) -> None:
        shares = np.full((len(VIEW_KINDS), BUCKETS, 4), 100)
        shares[1, bucket(2, 4), 0] = 60_000
        shares[1, bucket(1, 3), 1] = 200
        shares[1, bucket(1, 2), 2] = 61_000
        shape = SetShape(2, 1, (1, 1, 4), "crop")
        starts, widths = PlaceModel.of(shares).slots([ints(0, 2)], [shape])
        assert (starts[0], widths[0]) == (0, 60_000)
        assert starts[1:] == [0, 200, 0]
        assert widths[1:] == [60_000, TOTAL - 200, 61_000]

    def test_a_model_has_from_no_places_to_16384(self) -> None:
        assert PlaceModel.none().places == 0
        kinds = len(VIEW_KINDS)
        assert PlaceModel.of(np.ones((kinds, BUCKETS, MAX_PLACES), np.int64)).places == 1 << 14
        with pytest.raises(ValueError, match=r"\(3, 8, 16385\) shares"):
            PlaceModel.of(np.ones((kinds, BUCKETS, MAX_PLACES + 1), np.int64))

    @pytest.mark.parametrize(("share", "right"), [(0, False), (1, True), (65_535, True)])
    def test_a_share_leaves_room_for_the_other_decision(self, share: int, right: bool) -> None:
        shares = np.full((len(VIEW_KINDS), BUCKETS, 2), 5)
        shares[2, 7, 1] = share
        if right:
            assert PlaceModel.of(shares).widths[2][7][1] == share
        else:
            with pytest.raises(ValueError, match="kept 0 to 5 of 65536"):
                PlaceModel.of(shares)


class TestOwners:
    def owned(self, owners: list[int], *ids: int) -> TokenSet:
        tokens = token_set(list(ids), grid=(1, 1, len(owners)), dim=1)
        return TokenSet(tokens.features, tokens.ids, tokens.grid, tokens.order, ints(*owners))

    def test_each_place_that_is_not_kept_is_one_of_the_kept_or_dropped(self) -> None:
        """Place 1 of token 0, place 3 dropped: symbols 1 and 0 of thirds of 2^16."""
        tokens = self.owned([0, 0, 2, -1], 0, 2)
        thirds = [0, TOTAL // 3, 2 * TOTAL // 3, TOTAL]
        expected = rans.encode([thirds[1], 0], [thirds[2] - thirds[1], thirds[1]])
        assert encode_owners([tokens]) == bytes([1]) + expected

    def test_flags_are_a_bit_for_each_view_in_whole_bytes(self) -> None:
        plain, merged = token_set([0], grid=(1, 1, 1), dim=1), self.owned([0], 0)
        assert encode_owners([plain] * 9) == b""
        data = encode_owners([plain] * 8 + [merged])
        assert data == bytes([0, 1])
        shapes = [SetShape(1, 1, (1, 1, 1))] * 9
        found = decode_owners(data, [ints(0)] * 9, shapes)
        assert [o is None for o in found] == [True] * 8 + [False]
        with pytest.raises(CodecError, match="flags 0x200 for 9 views"):
            decode_owners(bytes([0, 2]), [ints(0)] * 9, shapes)
        with pytest.raises(CodecError, match="flags 0x1 for 9 views"):
            decode_owners(bytes([1]), [ints(0)] * 9, shapes)

    @pytest.mark.parametrize("owners", [[0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 2, 2], [0, 3, 2, 2]])
    def test_kept_tokens_own_themselves_and_others_one_of_them(self, owners: list[int]) -> None:
        tokens = token_set([0, 2], grid=(1, 1, 4), dim=1)
        wrong = TokenSet(tokens.features, tokens.ids, tokens.grid, tokens.order, ints(*owners))
        with pytest.raises(CodecError, match=r"owners are \[4\] kept ids or -1"):
            encode_owners([wrong])


class TestInt8z:
    def test_scale_bytes_are_eighths_of_an_octave_from_2_to_the_minus_20(self) -> None:
        assert (SCALES[0], SCALES[160], SCALES[168]) == (2.0**-20, 1.0, 2.0)
        for byte in range(256):
            assert SCALES[byte] == pytest.approx(2 ** ((byte - 160) / 8), rel=1e-6)
        assert pytest.approx(2 ** (95 / 8) * 127, rel=1e-6) == LARGEST

    @pytest.mark.parametrize(
        ("peak", "byte"), [(127.0, 160), (127.1, 161), (254.0, 168), (0.0, 0), (1e-9, 0)]
    )
    def test_the_scale_is_the_smallest_that_reaches(self, peak: float, byte: int) -> None:
        tokens = token_set([0], grid=(1, 1, 1), dim=2)
        tokens.features[:] = [[peak, -peak]]
        (layer,) = Int8z().encode([tokens])
        assert layer[1] == byte
        level = round(peak / float(SCALES[byte]))
        assert layer[2:] == np.array([level, -level], np.int8).tobytes()

    def test_the_largest_that_it_reaches_is_written_and_the_next_is_not(self) -> None:
        tokens = token_set([0], grid=(1, 1, 1), dim=1)
        tokens.features[:] = LARGEST
        Int8z().encode([tokens])
        tokens.features[:] = np.nextafter(np.float32(LARGEST), np.float32(np.inf))
        with pytest.raises(CodecError, match="int8z reaches"):
            Int8z().encode([tokens])

    def test_every_byte_of_a_raw_layer_is_needed(self) -> None:
        tokens = token_set([0, 1], grid=(1, 1, 2), dim=3)
        (layer,) = Int8z().encode([tokens])
        shape = SetShape.of(tokens)
        assert len(layer) == 1 + 2 + 6
        with pytest.raises(CodecError, match="6 bytes of features, received 7"):
            Int8z().decode([layer + b"x"], [shape])
        with pytest.raises(CodecError, match="2 scales end at byte 3, received 2 bytes"):
            Int8z().decode([layer[:2]], [shape])


class TestKlt:
    def test_a_level_is_a_third_of_three_finer_ones(self) -> None:
        assert coarser(np.arange(-5, 6)).tolist() == [-2, -1, -1, -1, 0, 0, 0, 1, 1, 1, 2]

    def test_the_step_is_three_times_as_wide_for_each_layer_that_is_not_there(self) -> None:
        table = klt_table()
        assert [table.step_of(n) for n in (1, 2, 3)] == [9 * STEP, 3 * STEP, STEP]

    def test_levels_are_the_components_in_steps_to_the_nearest(self) -> None:
        codec, tokens = Klt(klt_table(4)), token_set([0, 1, 2], dim=4)
        signs = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
        mean = [Fraction(n, 8) for n in range(4)]
        for row, levels in zip(tokens.features, codec.levels(tokens.features), strict=True):
            for component, level in zip(signs, levels.tolist(), strict=True):
                exact = sum(
                    sign * (Fraction(float(value)) - middle)
                    for sign, value, middle in zip(component, row, mean, strict=True)
                )
                assert abs(level - exact / 2 / Fraction(STEP)) <= Fraction(1, 2) + Fraction(1, 32)

    def test_features_reach_as_far_as_2_to_the_20_steps_around_the_mean(self) -> None:
        codec, tokens = Klt(klt_table(4)), token_set([0], dim=4)
        reach = (MAX_LEVEL >> 6) * STEP
        tokens.features[:] = klt_table(4).mean
        tokens.features[0, 1] += np.float32(reach)
        codec.encode([tokens])
        tokens.features[0, 1] += np.float32(2 * STEP)
        with pytest.raises(CodecError, match="klt reaches 16384 around the mean"):
            codec.encode([tokens])

    @pytest.mark.parametrize("off", [0, 1])
    def test_a_basis_is_orthonormal_to_a_thousandth(self, off: int) -> None:
        raw = bytearray(klt_table(4).to_bytes())
        at = 8 + 8 + 8 + 4 * 4
        first = np.frombuffer(bytes(raw[at : at + 16]), "<i4").copy()
        first = (first * (1.0008 if not off else 1.0012)).astype("<i4")
        raw[at : at + 16] = first.tobytes()
        if off:
            with pytest.raises(BundleError, match="basis is not orthonormal: rows of length 1 to"):
                KltTable.from_bytes(bytes(raw))
        else:
            assert KltTable.from_bytes(bytes(raw)).dim == 4

    def test_the_longest_reach_is_255(self) -> None:
        assert MAX_REACH == 255


class TestRvq:
    def test_an_entry_of_2_to_the_16_is_read_and_one_more_is_not(self) -> None:
        for entry in (MAX_ENTRY, MAX_ENTRY + 1, -MAX_ENTRY - 1):
            table = rvq_table(4)
            table.stages[0].entries[1, 2] = entry
            if abs(entry) == MAX_ENTRY == 65_536:
                assert RvqTable.from_bytes(table.to_bytes()).stages[0].entries[1, 2] == entry
            else:
                with pytest.raises(BundleError, match="magnitude 65537, at most 65536"):
                    RvqTable.from_bytes(table.to_bytes())

    def test_a_feature_of_2_to_the_20_units_is_written_and_one_more_is_not(self) -> None:
        codec, tokens = Rvq(rvq_table(4)), token_set([0], dim=4)
        tokens.features[0, 1] = -MAX_FEATURE / 64
        codec.encode([tokens])
        tokens.features[0, 1] -= 1
        with pytest.raises(CodecError, match="magnitude 16385, rvq reaches 16384"):
            codec.encode([tokens])

    def test_stages_are_shared_out_over_layers_in_their_order(self) -> None:
        table = rvq_table(4, stages=5, per_layer=2)
        first, second, last = table.layers
        assert [len(layer) for layer in table.layers] == [2, 2, 1]
        assert (*first, *second, *last) == table.stages


class TestTableFiles:
    def read(self, *numbers: int) -> TableReader:
        writer = TableWriter(b"MAGIC123")
        writer.put("<u2", numbers)
        return TableReader(writer.to_bytes(), b"MAGIC123")

    def test_numbers_within_their_bounds_are_read_in_order(self) -> None:
        reader = self.read(3, 7, 5)
        assert reader.number("<u2", 3, 7, "lengths") == 3
        assert reader.number("<u2", 3, 7, "lengths") == 7
        with pytest.raises(BundleError, match="is 12 bytes, the file has 14"):
            reader.finish()
        assert reader.take("<u2", 1, 1).tolist() == [[5]]
        reader.finish()

    @pytest.mark.parametrize("value", [2, 8])
    def test_numbers_outside_are_named(self, value: int) -> None:
        with pytest.raises(BundleError, match=rf"with lengths {value}, 3..7 are possible"):
            self.read(value).number("<u2", 3, 7, "lengths")

    def test_what_is_not_there_is_not_read(self) -> None:
        message = "of 12 bytes: 6 are needed at byte 8, 4 are left"
        with pytest.raises(BundleError, match=message):
            self.read(1, 2).take("<u2", 3)
        assert self.read(1, 2).take("<u2", 2).tolist() == [1, 2]

    def test_another_magic_is_named(self) -> None:
        with pytest.raises(BundleError, match="begins with b'OTHER123', not b'MAGIC123'"):
            TableReader(b"MAGIC123", b"OTHER123")


class TestFrames:
    def test_a_frames_tokens_are_stacked_and_parted_again(self) -> None:
        sets = [token_set([0, 1], seed=1), token_set([], seed=2), token_set([5], seed=3)]
        features = stack(sets)
        shapes = shapes_of(sets, ["overview", "crop", "closeup"])
        assert (features.shape, total(shapes)) == ((3, 32), (3, 32))
        assert [shape.kind for shape in shapes] == ["overview", "crop", "closeup"]
        back = unstack(features, [s.ids for s in sets], shapes)
        for before, after in zip(sets, back, strict=True):
            np.testing.assert_array_equal(after.features, before.features)
            assert after.order.tolist() == list(range(len(before.ids)))

    def test_tokens_of_two_widths_are_refused(self) -> None:
        sets = [token_set([0]), token_set([0], dim=5)]
        for work in (lambda: stack(sets), lambda: total(shapes_of(sets, None))):
            with pytest.raises(CodecError, match=r"have one width, not \[5, 32\]"):
                work()

    def test_a_packet_has_at_most_16_layers(self) -> None:
        assert MAX_LAYERS == 16
