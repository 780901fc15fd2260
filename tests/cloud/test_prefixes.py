"""Shared visual prefixes: what is kept, what goes first, and how many bytes that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.types import F32
from saccade_cloud.engines import kv
from saccade_cloud.engines.base import Prompt, text_prompt
from saccade_cloud.engines.kv import Cache
from saccade_cloud.engines.prefixes import PrefixCaches, prefix_key
from saccade_testing.engine_contract import joined


def cache(positions: int) -> Cache:
    """One row of one layer with a head of width 1: key and value have 4 bytes a position each."""
    array = np.zeros((1, 1, positions, 1), np.float32)
    return Cache(
        (array, array), np.array([positions], np.int64), np.zeros((1, 2, positions), np.int64)
    )


def visual(value: float, count: int = 3) -> F32:
    return np.full((count, 2), value, np.float32)


USUAL = joined((1,), visual(0.5), (7, 8))
DEEP = np.ones((2, 3, 2), np.float32)


def test_the_one_that_was_used_longest_ago_goes_first() -> None:
    prefixes = PrefixCaches[Cache](max_bytes=3 * 80)
    for name in (b"a", b"b", b"c"):
        prefixes.put(name, cache(10))
    assert prefixes.get(b"a") is not None
    prefixes.put(b"d", cache(10))
    assert [name for name in (b"a", b"b", b"c", b"d") if prefixes.get(name)] == [b"a", b"c", b"d"]
    assert prefixes.nbytes == 240


def test_as_many_go_as_a_large_one_needs() -> None:
    prefixes = PrefixCaches[Cache](max_bytes=3 * 80)
    for name in (b"a", b"b", b"c"):
        prefixes.put(name, cache(10))
    prefixes.put(b"large", cache(20))
    assert [name for name in (b"a", b"b", b"c", b"large") if prefixes.get(name)] == [b"c", b"large"]
    assert prefixes.nbytes == 240


def test_one_that_fits_exactly_is_kept_and_a_larger_one_is_not() -> None:
    prefixes = PrefixCaches[Cache](max_bytes=80)
    prefixes.put(b"a", cache(10))
    prefixes.put(b"b", cache(11))
    assert prefixes.get(b"a") is not None
    assert prefixes.get(b"b") is None
    assert prefixes.nbytes == 80


def test_the_same_one_again_is_counted_once() -> None:
    prefixes = PrefixCaches[Cache](max_bytes=800)
    first = cache(10)
    prefixes.put(b"a", first)
    prefixes.put(b"a", cache(20))
    assert prefixes.get(b"a") is first
    assert prefixes.nbytes == 80


def test_no_bytes_keep_nothing() -> None:
    prefixes = PrefixCaches[Cache](max_bytes=0)
    assert not prefixes.enabled
    prefixes.put(b"a", cache(1))
    assert prefixes.get(b"a") is None
    assert PrefixCaches[Cache](max_bytes=1).enabled


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40), st.booleans()), max_size=100)
)
def test_the_count_of_bytes_is_that_of_what_is_kept(events: list[tuple[str, int, bool]]) -> None:
    prefixes, order = PrefixCaches[Cache](max_bytes=200), list[str]()
    sizes: dict[str, int] = {}
    for name, positions, put in events:
        if put and name not in sizes and positions * 8 <= 200:
            sizes[name] = positions * 8
            order.append(name)
            while sum(sizes.values()) > 200:
                del sizes[order.pop(0)]
        elif not put and name in sizes:
            order.remove(name)
            order.append(name)
        if put:
            prefixes.put(name.encode(), cache(positions))
        else:
            assert (prefixes.get(name.encode()) is not None) == (name in sizes)
        assert prefixes.nbytes == sum(sizes.values())


def test_a_cache_is_as_large_as_its_arrays() -> None:
    assert cache(10).nbytes == 80
    assert kv.empty(2, layers=3, heads=2, head_dim=8).nbytes == 0


@pytest.mark.parametrize(
    "other",
    [
        joined((1, 2), visual(0.5), ()),
        joined((2,), visual(0.5), ()),
        joined((1,), visual(0.25), ()),
        joined((1,), visual(0.5, count=4), ()),
        joined((), visual(0.5), (1,)),
        text_prompt((1,)),
        replace(USUAL, positions=USUAL.positions + 1),
        replace(USUAL, positions=np.repeat(USUAL.positions, 3, axis=0)),
        replace(USUAL, spans=(replace(USUAL.spans[0], deepstack=DEEP),)),
        replace(USUAL, spans=(replace(USUAL.spans[0], bidirectional=True),)),
    ],
)
def test_a_key_stands_for_all_of_the_content(other: Prompt) -> None:
    assert prefix_key(USUAL) == prefix_key(joined((1,), visual(0.5), (9,)))
    assert prefix_key(USUAL) != prefix_key(other)


def test_a_key_stands_for_every_bit_of_deepstack_rows() -> None:
    keys = {
        prefix_key(replace(USUAL, spans=(replace(USUAL.spans[0], deepstack=deepstack),)))
        for deepstack in (DEEP, DEEP * 2, DEEP[:1])
    }
    assert len(keys) == 3
