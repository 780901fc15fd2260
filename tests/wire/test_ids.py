"""Token ids cost few bytes, and every byte string has at most one reading."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.codecs import SetShape
from saccade.codecs.bits import BitReader, BitWriter
from saccade.codecs.ids import decode_ids, encode_ids, rank, unrank
from saccade.errors import CodecError
from saccade.selection import select
from saccade.types import I32, Grid
from saccade_testing.tokens import grids, places_in, token_grid


@st.composite
def frames_of_ids(draw: st.DrawFn) -> tuple[list[I32], list[SetShape]]:
    grid: Grid = draw(grids)
    some = draw(st.lists(places_in(grid), min_size=1, max_size=5))
    ids = draw(st.lists(st.sampled_from(some), min_size=1, max_size=20))
    return ids, [SetShape(len(places), 1, grid) for places in ids]


@given(frames_of_ids(), st.binary(max_size=5))
def test_ids_round_trip_and_say_where_they_end(
    frame: tuple[list[I32], list[SetShape]], rest: bytes
) -> None:
    ids, shapes = frame
    data = encode_ids(ids, shapes)
    decoded, end = decode_ids(data + rest, shapes)
    assert [places.tolist() for places in decoded] == [places.tolist() for places in ids]
    assert end == len(data)


@given(frames_of_ids())
def test_ids_never_cost_more_than_bitmaps_or_byte_gaps(
    frame: tuple[list[I32], list[SetShape]],
) -> None:
    ids, shapes = frame
    forms = (2 * len(ids) + 7) // 8
    bitmaps = sum((shape.places + 7) // 8 for shape in shapes)
    assert len(encode_ids(ids, shapes)) <= forms + 1 + min(bitmaps, sum(map(len, ids)) * 2)


@given(frames_of_ids(), st.binary(max_size=60))
def test_any_bytes_are_ids_in_the_grid_or_a_codec_error(
    frame: tuple[list[I32], list[SetShape]], noise: bytes
) -> None:
    _, shapes = frame
    try:
        decoded, end = decode_ids(noise, shapes)
    except CodecError:
        return
    assert end <= len(noise)
    for places, shape in zip(decoded, shapes, strict=True):
        assert len(places) == shape.count
        assert np.all(np.diff(places) > 0)
        assert np.all((places >= 0) & (places < shape.places))


def test_ranks_count_all_subsets_in_order() -> None:
    subsets = list(itertools.combinations(range(7), 3))
    assert [rank(subset, 7) for subset in subsets] == list(range(math.comb(7, 3)))
    assert [tuple(unrank(i, 3, 7)) for i in range(len(subsets))] == subsets


def test_sixteen_of_sixtyfour_in_five_views_are_32_bytes() -> None:
    generator = np.random.default_rng(0)
    ids = [np.sort(generator.permutation(64)[:16]).astype(np.int32) for _ in range(5)]
    assert len(encode_ids(ids, [SetShape(16, 1, (1, 8, 8))] * 5)) == 32


def test_ids_that_lie_together_are_coded_as_runs() -> None:
    shape = SetShape(16, 1, (1, 8, 8))
    assert len(encode_ids([np.arange(24, 40, dtype=np.int32)], [shape])) == 1 + 3


def test_views_that_keep_the_same_places_pay_once() -> None:
    grid = token_grid(0)
    kept = [select(grid, 16, method="uniform")] * 5
    shapes = [SetShape.of(tokens) for tokens in kept]
    once = encode_ids([kept[0].ids], shapes[:1])
    data = encode_ids([tokens.ids for tokens in kept], shapes)
    assert len(data) == len(once) <= 8
    decoded, _ = decode_ids(data, shapes)
    assert all(np.array_equal(places, kept[0].ids) for places in decoded)


def test_all_places_cost_one_flag_byte() -> None:
    shape = SetShape(64, 1, (1, 8, 8))
    assert encode_ids([np.arange(64, dtype=np.int32)], [shape]) == b"\0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "received 0 bytes, 1 are needed"),
        (b"\x02" + bytes(8), "forms 0x2 for 1 views"),
        (b"\0" + bytes(6), "received 7 bytes, 8 are needed"),
        (b"\0" + b"\xff" * 7, "rank beyond"),
        (b"\x01" + b"\x00" * 4, "a number of more than"),
        (b"\x01\x07\xa1\x00", "places 60..75 in a grid of 64"),
    ],
)
def test_impossible_ids_are_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode_ids(data, [SetShape(16, 1, (1, 8, 8))])


@given(st.lists(st.integers(1, 1 << 20), max_size=30))
def test_gamma_codes_round_trip(numbers: list[int]) -> None:
    writer = BitWriter()
    for number in numbers:
        writer.gamma(number)
    reader = BitReader(writer.to_bytes())
    assert [reader.gamma(1 << 20) for _ in numbers] == numbers
    assert reader.finish() == len(writer.to_bytes())


def test_padding_that_is_not_zero_is_refused() -> None:
    reader = BitReader(b"\x81")
    reader.bit()
    with pytest.raises(CodecError, match="padding"):
        reader.finish()
