"""One direction of the link on a clock that a test turns by hand: exact, whatever the machine."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any, cast

from bench.link.clock import Clock
from bench.link.room import Room
from bench.link.trace import Trace
from bench.link.wire import Shape, Wire
from hypothesis import given
from hypothesis import strategies as st


class HandClock:
    """Like `Clock`, but time passes only in ``turn``."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._count = 0

    def now(self) -> float:
        return self._now

    def at(self, moment_s: float, call: Callable[[], None]) -> HandClock._Handle:
        self._count += 1
        heapq.heappush(self._due, (moment_s, self._count, call))
        return HandClock._Handle(self._cancelled, self._count)

    def turn(self, until_s: float) -> None:
        while self._due and self._due[0][0] <= until_s:
            moment, number, call = heapq.heappop(self._due)
            self._now = max(self._now, moment)
            if number not in self._cancelled:
                call()
        self._now = until_s

    class _Handle:
        def __init__(self, cancelled: set[int], number: int) -> None:
            self._cancelled, self._number = cancelled, number

        def cancel(self) -> None:
            self._cancelled.add(self._number)


class Bench:
    """A wire and when what was offered has arrived."""

    def __init__(self, shape: Shape) -> None:
        self.clock = HandClock()
        self.wire = Wire(cast(Clock, self.clock), shape)
        self.arrived: list[tuple[str, float]] = []

    def offer(self, name: str, size: int) -> bool:
        return self.wire.offer(size, lambda: self.arrived.append((name, self.clock.now())))


KBYTE_A_SECOND = Trace.constant(8000)


def test_packets_leave_when_the_trace_has_let_them_and_arrive_a_delay_later() -> None:
    bench = Bench(Shape(KBYTE_A_SECOND, 0.5))
    for name in "abc":
        assert bench.offer(name, 1000)
    bench.clock.turn(10)
    assert bench.offer("d", 500)  # what passed in between is lost
    bench.clock.turn(20)
    assert bench.arrived == [("a", 1.5), ("b", 2.5), ("c", 3.5), ("d", 11.0)]
    assert (bench.wire.passed.packets, bench.wire.passed.bytes) == (4, 3500)
    assert bench.wire.passed.queued_s == 3.0


def test_an_outage_of_the_trace_stops_the_packet_that_is_in_it() -> None:
    bench = Bench(Shape(Trace.steps([(1, 8000), (5, 0), (4, 8000)])))
    for name in "abc":
        bench.offer(name, 700)
    bench.clock.turn(30)
    assert [(name, round(at, 6)) for name, at in bench.arrived] == [
        ("a", 0.7), ("b", 6.4), ("c", 7.1),
    ]  # fmt: skip


def test_a_full_queue_refuses_and_what_is_under_way_takes_no_room() -> None:
    bench = Bench(Shape(KBYTE_A_SECOND, 60, queue_bytes=2000))
    assert [bench.offer(name, 1000) for name in "abc"] == [True, True, False]
    bench.clock.turn(2)
    assert bench.wire.queued_bytes == 0
    assert [bench.offer(name, 1000) for name in "de"] == [True, True]
    assert (bench.arrived, bench.wire.passed.dropped) == ([], 1)


def test_a_blackhole_holds_the_queue_and_the_flight() -> None:
    bench = Bench(Shape(KBYTE_A_SECOND, 2))
    for name in "abc":
        bench.offer(name, 1000)
    bench.clock.turn(1.5)  # a is under way, b is being sent
    bench.wire.blackhole(10)
    bench.clock.turn(11.4)
    assert bench.arrived == []
    bench.clock.turn(30)
    assert bench.arrived == [("a", 11.5), ("b", 14.5), ("c", 15.5)]


def test_a_new_rate_counts_at_once_and_a_new_delay_overtakes_nothing() -> None:
    bench = Bench(Shape(KBYTE_A_SECOND, 3))
    for name in "abc":
        bench.offer(name, 1000)
    bench.clock.turn(1.5)
    bench.wire.set_trace(Trace.constant(80_000))
    bench.wire.set_delay(0)
    bench.clock.turn(1.55)
    bench.wire.set_trace(None)
    bench.clock.turn(30)
    assert bench.arrived == [("a", 4.0), ("b", 4.0), ("c", 4.0)]


def test_closed_it_delivers_nothing_more() -> None:
    bench = Bench(Shape(KBYTE_A_SECOND, 1))
    bench.offer("a", 1000)
    bench.wire.close()
    bench.clock.turn(10)
    assert bench.arrived == []


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 1500)), max_size=40), st.data())
def test_one_input_gives_one_output_in_order_never_faster_than_the_trace(
    offers: list[tuple[float, int]], data: Any
) -> None:
    trace = Trace.steps([(1.5, 8000), (0.5, 0), (1, 24_000)])
    turns = data.draw(st.lists(st.floats(0.001, 2), max_size=20))

    def run() -> list[tuple[str, float]]:
        bench = Bench(Shape(trace, 0.25, 5000))
        for number, (pause, size) in enumerate(offers):
            bench.clock.turn(bench.clock.now() + pause)
            bench.offer(f"{number} {size}", size)
            if number < len(turns):
                bench.wire.blackhole(turns[number] / 10)
        bench.clock.turn(bench.clock.now() + 1000)
        return bench.arrived

    arrived = run()
    assert arrived == run()
    total, last = 0, 0.0
    for name, at in arrived:
        total += int(name.split()[1])
        assert total <= trace.bytes_by(at - 0.25) + 1e-6
        assert at >= last
        last = at


def test_room_is_given_in_the_order_in_which_it_was_asked_for() -> None:
    async def main() -> None:
        room, order = Room(10), []

        async def ask(name: str, size: int) -> None:
            await room.take(size)
            order.append(name)

        await ask("first", 8)
        large = asyncio.create_task(ask("large", 9))
        gone = asyncio.create_task(ask("gone", 5))
        small = asyncio.create_task(ask("small", 1))
        await asyncio.sleep(0)
        assert not room.try_take(1)  # others wait
        gone.cancel()
        room.give(8)
        await asyncio.gather(large, small)
        assert (order, room.used) == (["first", "large", "small"], 10)
        room.give(10)
        await ask("more than all", 100)
        assert room.used == 100

    asyncio.run(main())


def test_who_is_cancelled_when_its_turn_has_come_gives_it_back() -> None:
    async def main() -> None:
        room = Room(10)
        await room.take(10)
        waiting = asyncio.create_task(room.take(10))
        await asyncio.sleep(0)
        room.give(10)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert room.used == 0

    asyncio.run(main())
