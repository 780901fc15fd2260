"""A cache of several holders is bounded by bytes, and the greedy one pays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from saccade_cloud.shared_cache import SharedCache

PUTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 60)), max_size=40
)


@given(puts=PUTS)
def test_no_bound_is_ever_passed(puts: list[tuple[str, int, int]]) -> None:
    cache: SharedCache[int] = SharedCache(100, 50)
    sizes: dict[tuple[str, int], int] = {}
    for holder, key, nbytes in puts:
        cache.put(holder, key, nbytes, nbytes)
        sizes[holder, key] = nbytes
        held = {place: n for place, n in sizes.items() if cache.get(*place) is not None}
        assert cache.bytes == sum(held.values()) <= 100
        for name in "abc":
            assert sum(n for (whose, _), n in held.items() if whose == name) <= 50
        assert (cache.get(holder, key) == nbytes) == (nbytes <= 50)


def test_the_least_recently_used_of_the_same_holder_goes_first() -> None:
    cache: SharedCache[str] = SharedCache(100, 20)
    cache.put("a", 1, "one", 10)
    cache.put("a", 2, "two", 10)
    assert cache.get("a", 1) == "one"
    cache.put("a", 3, "three", 10)
    assert [cache.get("a", key) for key in (1, 2, 3)] == ["one", None, "three"]


def test_the_holder_with_the_most_makes_room() -> None:
    cache: SharedCache[str] = SharedCache(40, 40)
    for key in range(3):
        cache.put("greedy", key, "much", 10)
    cache.put("modest", 0, "little", 10)
    cache.put("modest", 1, "little", 10)
    assert cache.get("greedy", 0) is None
    assert [cache.get("modest", key) for key in (0, 1)] == ["little", "little"]


def test_what_is_dropped_is_gone_and_dropping_it_again_changes_nothing() -> None:
    cache: SharedCache[str] = SharedCache(40, 40)
    cache.put("a", 1, "one", 10)
    for _ in range(2):
        cache.drop("a", 1)
        assert (cache.get("a", 1), cache.bytes) == (None, 0)
