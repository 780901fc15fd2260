"""Places that are shared, and the order in which those who wait for one come in."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import LimitExceeded
from saccade_cloud.fair_gate import FairGate
from saccade_cloud.shared_places import SharedPlaces


class TestPlaces:
    @pytest.mark.parametrize("greedy", [1, 2, 20, 200])
    def test_however_many_take_all_they_can_a_newcomer_has_a_place(self, greedy: int) -> None:
        places = SharedPlaces("cameras", 2048, 64)
        for number in range(greedy):
            holder = f"greedy-{number}"
            while places.fits(holder, places.held(holder) + 1):
                places.hold(holder, places.held(holder) + 1)
            assert places.held(holder) <= 64
        for number in range(4):
            places.hold(f"newcomer-{number}", 1)

    def test_none_holds_more_than_the_most(self) -> None:
        places = SharedPlaces("cameras", 2048, 64)
        places.hold("a", 64)
        with pytest.raises(LimitExceeded, match="65 cameras of a: its share of 2048 is 64 now"):
            places.hold("a", 65)
        assert (places.held("a"), places.used) == (64, 64)

    def test_what_is_given_back_is_free_again(self) -> None:
        places = SharedPlaces("calls", 4, 4)
        for _ in range(100):
            with places.one("a"):
                assert places.used == 1
        assert places.used == 0

    def test_fewer_than_before_is_never_refused(self) -> None:
        places = SharedPlaces("calls", 32, 8)
        places.hold("a", 5)
        for number in range(20):
            places.hold(f"other-{number}", 1)
        assert not places.fits("a", 6)
        places.hold("a", 5)
        places.hold("a", 4)
        assert places.used == 24

    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=200))
    def test_no_more_are_held_than_there_are(self, wanted: list[tuple[str, int]]) -> None:
        places, held = SharedPlaces("calls", 32, 20), Counter[str]()
        for holder, count in wanted:
            if places.fits(holder, count):
                places.hold(holder, count)
                held[holder] = count
            assert places.used == held.total() <= 32
            assert all(places.held(each) == held[each] <= 20 for each in held)


def gate(most: int, of_one: int) -> FairGate:
    return FairGate(SharedPlaces("questions", most, of_one))


class TestGate:
    def test_clients_come_in_by_turns_and_each_in_its_own_order(self) -> None:
        async def main() -> list[str]:
            narrow, order = gate(1, 1), list[str]()

            async def go(client: str, number: int) -> None:
                async with narrow.place(client):
                    order.append(f"{client}{number}")
                    await asyncio.sleep(0)

            await asyncio.gather(*(go("g", n) for n in range(6)), go("h", 0), go("h", 1))
            return order

        assert asyncio.run(main()) == ["g0", "g1", "h0", "g2", "h1", "g3", "g4", "g5"]

    @pytest.mark.parametrize("after_turns", range(6))
    def test_who_is_cancelled_at_any_moment_takes_no_place(self, after_turns: int) -> None:
        """Also in the instant between its turn and its next step."""

        async def main() -> None:
            places = SharedPlaces("questions", 1, 1)
            narrow = FairGate(places)

            async def go(client: str) -> None:
                async with narrow.place(client):
                    await asyncio.sleep(0)

            tasks = [asyncio.create_task(go(f"c{n % 3}")) for n in range(9)]
            for _ in range(after_turns):
                await asyncio.sleep(0)
            for task in tasks[:6]:
                task.cancel()
            done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
            assert {type(each) for each in done} <= {type(None), asyncio.CancelledError}
            assert (places.used, narrow.waiting) == (0, 0)
            await asyncio.wait_for(go("later"), 5)

        asyncio.run(main())

    def test_who_is_cancelled_as_another_leaves_takes_no_place(self) -> None:
        async def main() -> None:
            places = SharedPlaces("questions", 1, 1)
            narrow = FairGate(places)
            inside = narrow.place("a")
            await inside.__aenter__()
            waiting = [asyncio.create_task(narrow.place(c).__aenter__()) for c in "bc"]
            await asyncio.sleep(0)
            waiting[0].cancel()  # and it has not run yet when the next is let in
            await inside.__aexit__(None, None, None)
            await waiting[1]
            with pytest.raises(asyncio.CancelledError):
                await waiting[0]
            assert places.held("c") == places.used == 1

        asyncio.run(main())
