"""Caches of keys and values by hand: left padded, trimmed to the longest row, never changed."""

from __future__ import annotations

import numpy as np
import pytest

from saccade_cloud.engines import kv
from saccade_cloud.engines.kv import Cache
from saccade_cloud.engines.prefixes import PrefixCaches


def cache(*rows: list[int], columns: int | None = None) -> Cache:
    """Two layers, two heads of width 1: the real positions of each row, zeros before them. The
    arrays differ by thousands, the heads by hundreds.
    """
    width = max(len(row) for row in rows) if columns is None else columns
    padded = np.array([[0] * (width - len(row)) + row for row in rows], np.float32)
    heads = np.stack([padded, padded + 100], axis=1)[..., None]
    arrays = tuple((heads + 1000 * n).astype(np.float32) for n in range(4))
    labels = np.stack([padded, padded + 100], axis=1).astype(np.int64)
    return Cache(arrays, np.array([len(row) for row in rows], np.int64), labels)


def rows_of(held: Cache) -> list[list[int]]:
    """Of the first array's first head, all columns; the other arrays must agree."""
    first = held.arrays[0][:, 0, :, 0]
    for row, length in enumerate(held.lengths):
        real = slice(held.columns - int(length), None)
        np.testing.assert_array_equal(held.labels[row, 0, real], first[row, real])
        np.testing.assert_array_equal(held.labels[row, 1, real], first[row, real] + 100)
    for number, array in enumerate(held.arrays):
        for row, length in enumerate(held.lengths):
            real = slice(held.columns - int(length), None)
            for head in range(2):
                expected = first[row, real] + 1000 * number + 100 * head
                np.testing.assert_array_equal(array[row, head, real, 0], expected)
    return [[int(value) for value in row] for row in first]


def test_an_empty_cache_has_its_rows_and_no_columns() -> None:
    held = kv.empty(3, layers=2, heads=4, head_dim=8)
    assert [array.shape for array in held.arrays] == [(3, 4, 0, 8)] * 4
    assert (held.rows, held.columns, held.nbytes) == (3, 0, 0)
    assert held.lengths.tolist() == [0, 0, 0]


def test_a_mask_is_of_the_last_columns() -> None:
    assert kv.mask(np.array([0, 1, 3]), 3).tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 1]]


def test_bytes_are_those_of_all_arrays() -> None:
    assert cache([1, 2, 3], [4]).nbytes == 4 * 2 * 2 * 3 * 4


def test_joined_rows_are_in_order_and_padded_on_the_left() -> None:
    joined = kv.join([cache([1]), cache([2, 3, 4], [5, 6]), cache([7, 8])])
    assert rows_of(joined) == [[0, 0, 1], [2, 3, 4], [0, 5, 6], [0, 7, 8]]
    assert joined.lengths.tolist() == [1, 3, 2, 2]
    alone = cache([1])
    assert kv.join([alone]) is alone


def test_rows_that_are_taken_are_trimmed_to_the_longest_of_them() -> None:
    held = cache([1, 2, 3], [4], [5, 6])
    assert rows_of(kv.take(held, [2, 1])) == [[5, 6], [0, 4]]
    assert kv.take(held, [2, 1]).lengths.tolist() == [2, 1]
    assert rows_of(kv.take(held, [1])) == [[4]]
    nobody = kv.take(held, [])
    assert (nobody.rows, nobody.columns) == (0, 0)
    assert rows_of(held) == [[1, 2, 3], [0, 0, 4], [0, 5, 6]]


@pytest.mark.parametrize("columns", [3, 5])
def test_the_first_positions_are_the_real_ones(columns: int) -> None:
    held = cache([1, 2, 3], columns=columns)
    for count in range(4):
        start = kv.first(held, count)
        assert rows_of(start) == [[1, 2, 3][:count]]
        assert start.lengths.tolist() == [count]


class TestPrefixes:
    def test_the_least_recently_used_go_first_and_bytes_are_counted(self) -> None:
        one = cache([1, 2])
        held = PrefixCaches[Cache](3 * one.nbytes)
        for name in (b"a", b"b", b"c"):
            held.put(name, one)
        assert held.nbytes == 3 * one.nbytes
        assert held.get(b"a") is one
        held.put(b"d", cache([3, 4]))
        assert [held.get(name) is None for name in (b"a", b"b", b"c", b"d")] == [
            False,
            True,
            False,
            False,
        ]
        assert held.nbytes == 3 * one.nbytes

    def test_one_that_is_there_is_not_counted_twice(self) -> None:
        one = cache([1, 2])
        held = PrefixCaches[Cache](2 * one.nbytes)
        held.put(b"a", one)
        held.put(b"a", cache([5, 6]))
        assert (held.get(b"a"), held.nbytes) == (one, one.nbytes)

    def test_one_of_exactly_the_bound_is_kept_and_a_larger_one_is_not(self) -> None:
        one = cache([1, 2])
        held = PrefixCaches[Cache](one.nbytes)
        held.put(b"a", one)
        held.put(b"b", cache([1, 2, 3]))
        assert (held.get(b"a"), held.get(b"b")) == (one, None)
        held.put(b"c", cache([1]))
        assert (held.get(b"a"), held.nbytes) == (None, one.nbytes // 2)

    def test_a_bound_of_nothing_keeps_nothing(self) -> None:
        held = PrefixCaches[Cache](0)
        held.put(b"a", cache([1]))
        assert (held.enabled, held.nbytes, held.get(b"a")) == (False, 0, None)
        assert PrefixCaches(1).enabled
