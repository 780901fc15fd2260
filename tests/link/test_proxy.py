"""Real sockets through the emulated link. What must not be too early or too fast is strict; what
must not be too late allows for a busy machine.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bench.link.connection import Cutter, Lane
from bench.link.ends import Sink, connect, echo, serving
from bench.link.link_events import Event, parse
from bench.link.proxy import LinkProxy
from bench.link.trace import Trace
from bench.link.trace_files import trace_of
from bench.link.wire import Shape

from saccade.errors import ConfigError

FREE = Shape()
LATE_S = 3.0  # what a machine with other work may take longer, on the wall


def at(at_s: float, line: str) -> Event:
    return parse(line, at_s)


@asynccontextmanager
async def echoing(
    up: Shape = FREE, down: Shape | None = None, **options: Any
) -> AsyncIterator[LinkProxy]:
    async with serving(echo) as target, LinkProxy(target, up, down, **options) as link:
        yield link


async def upload(trace: Trace, count: int, speed: float) -> tuple[LinkProxy, Sink]:
    """Send ``count`` bytes through a link of that trace; the arrivals are on the wall's clock."""
    sink = Sink()
    shape = Shape(trace)
    async with serving(sink) as target, LinkProxy(target, shape, speed=speed) as link:
        _, writer = await connect(link.address)
        writer.write(bytes(count))
        writer.write_eof()
        await asyncio.wait_for(sink.ended.wait(), 60)
        writer.close()
    return link, sink


@pytest.mark.parametrize(
    ("name", "seconds", "speed"),
    [("250k", 30, 30), ("5M", 10, 10), ("step", 62, 30), ("driving", 45, 30), ("subway", 55, 30)],
)
def test_bytes_arrive_as_the_trace_says_and_never_before(
    name: str, seconds: float, speed: float
) -> None:
    trace = trace_of(name)
    count = int(trace.bytes_by(seconds))

    async def main() -> None:
        began = time.monotonic()
        link, sink = await upload(trace, count, speed)
        for moment, received in sink.arrivals:
            assert received <= trace.bytes_by((moment - began) * speed)
        assert len(sink.received) == count
        # Headers are on the link, too: 52 bytes of 1500.
        took_s = (sink.arrivals[-1][0] - began) * speed
        due_s = trace.when(count * 1500 / 1448)
        assert 0.99 * due_s <= took_s <= due_s + LATE_S * speed
        passed = link.up.wire.passed
        assert passed.bytes == count + 52 * passed.packets

    asyncio.run(main())


def test_a_rate_is_at_least_six_tenths_of_what_is_asked_on_a_busy_machine() -> None:
    async def main() -> None:
        began = time.monotonic()
        # The queue lasts a second of the wall: a shorter stall costs no opportunity.
        _, sink = await upload(Trace.constant(1e6), 375_000, speed=2)
        rate = 375_000 * 8 / (sink.arrivals[-1][0] - began) / 2
        assert 0.6 * 1e6 < rate < 1e6

    asyncio.run(main())


def test_the_downlink_is_ten_times_the_uplink_with_its_outages_and_delay() -> None:
    async def main() -> None:
        async with echoing(Shape(Trace.constant(1e6), 0.05), speed=4) as link:
            took_s = await round_trip(link.address, bytes(250_000)) * 4
            assert 2.0 + 0.2 < took_s < 2.0 + 0.2 + 0.3 + 4 * LATE_S
            assert link.down.wire.passed.queued_s < link.up.wire.passed.queued_s

    asyncio.run(main())


def test_each_way_takes_its_delay() -> None:
    async def main() -> None:
        for speed in (1.0, 4.0):
            async with echoing(Shape(None, 0.1), Shape(None, 0.3), speed=speed) as link:
                # Twice there and back: the handshake, then the byte.
                took_s = await round_trip(link.address) * speed
                assert 0.8 <= took_s < 0.9 + speed * LATE_S

    asyncio.run(main())


def test_a_queue_that_is_full_holds_the_sender_and_loses_nothing() -> None:
    async def main() -> None:
        sink, shape = Sink(), Shape(Trace.constant(1e6), queue_bytes=20_000)
        async with serving(sink) as target, LinkProxy(target, shape, speed=5) as link:
            _, writer = await connect(link.address)
            sent = bytes(n % 251 for n in range(600_000))
            writer.write(sent)
            fullest = 0
            while len(sink.received) < len(sent):
                fullest = max(fullest, link.up.wire.queued_bytes)
                await asyncio.sleep(0.005)
            writer.close()
        assert bytes(sink.received) == sent
        assert 18_000 < fullest <= 20_000
        # 20,000 bytes at 1 Mbit/s: nothing waits longer than its queue is deep.
        assert 0.14 < link.up.wire.passed.queued_s < 0.161

    asyncio.run(main())


def test_one_who_does_not_read_holds_up_nobody_else() -> None:
    async def main() -> None:
        async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            if await reader.readexactly(1) == b"e":
                await echo(reader, _)
            await asyncio.sleep(60)

        async with serving(deaf) as target, LinkProxy(target, FREE) as link:
            _, stuck = await connect(link.address)
            stuck.write(b"s" + bytes(32 << 20))
            await asyncio.sleep(0.2)
            reader, writer = await connect(link.address)
            writer.write(b"ehello")
            assert await asyncio.wait_for(reader.readexactly(5), 10) == b"hello"
            writer.close()
            stuck.transport.abort()

    asyncio.run(main())


def test_a_blackhole_holds_what_is_sent_and_lets_it_pass_afterwards() -> None:
    async def main() -> None:
        async with echoing(Shape(None, 0.01), speed=10) as link:
            reader, writer = await connect(link.address)
            writer.write(b"before")
            assert await reader.readexactly(6) == b"before"
            began_s = link.clock.now()
            link.blackhole(5)
            writer.write(b"during")
            assert await reader.readexactly(6) == b"during"
            assert 5 <= link.clock.now() - began_s < 5 + 10 * LATE_S
            writer.close()

    asyncio.run(main())


def test_a_blackhole_one_way_lets_the_other_pass() -> None:
    async def main() -> None:
        async with echoing(speed=4, schedule=[at(0, "blackhole 2 up")]) as link:
            reader, writer = await connect(link.address)
            writer.write(b"x")
            await reader.readexactly(1)
            assert link.clock.now() >= 2
            link.blackhole(60, "up")
            await link.down.wire.send(100, asyncio.Event().set)  # not held
            assert link.down.wire.queued_bytes == 0
            writer.close()

    asyncio.run(main())


def test_a_reset_is_econnreset_at_both_ends() -> None:
    async def main() -> None:
        seen: list[str] = []
        met = asyncio.Event()

        async def cloud(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.set()
            try:
                await reader.read()
            except ConnectionResetError:
                seen.append("cloud")

        async with serving(cloud) as target, LinkProxy(target, FREE) as link:
            reader, writer = await connect(link.address)
            await asyncio.wait_for(met.wait(), 10)
            link.reset()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await until(lambda: seen == ["cloud"])
            assert link.connections.reset == 1
            _, again = await connect(link.address)  # the link itself is whole
            again.close()

    asyncio.run(main())


def test_an_end_that_is_reset_is_reset_for_the_other_a_delay_later() -> None:
    async def main() -> None:
        async def cloud(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(1)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        async with serving(cloud) as target, LinkProxy(target, Shape(None, 0.1)) as link:
            reader, writer = await connect(link.address)
            began = time.monotonic()
            writer.write(b"x")
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
            assert time.monotonic() - began >= 0.2
            writer.close()
            await until(lambda: link.open_connections == 0)

    asyncio.run(main())


def test_nobody_at_the_other_end_is_a_reset_after_a_round_trip() -> None:
    async def main() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
            async with LinkProxy(address, Shape(None, 0.1)) as link:
                began = time.monotonic()
                reader, writer = await connect(link.address)
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.read(), 10)
                assert time.monotonic() - began >= 0.2
                writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("silent", ["both", "edge", "cloud"])
def test_half_open_is_silence_for_whom_it_is_meant(silent: Any) -> None:
    async def main() -> None:
        heard: asyncio.Queue[bytes | str] = asyncio.Queue()

        async def cloud(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(100):
                    heard.put_nowait(data)
                heard.put_nowait("end")
            except ConnectionResetError:
                heard.put_nowait("reset")

        async def cloud_hears() -> bytes | str:
            return await asyncio.wait_for(heard.get(), 0.3 if silent != "edge" else 10)

        async with serving(cloud) as target, LinkProxy(target, FREE) as link:
            reader, writer = await connect(link.address)
            writer.write(b"x")
            assert await asyncio.wait_for(heard.get(), 10) == b"x"
            link.half_open(silent)
            await until(lambda: link.open_connections == 0)
            if silent == "cloud":
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.read(1), 10)
            else:
                writer.write(b"into the void")
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.3)
            if silent == "edge":
                assert await cloud_hears() == "reset"
            else:
                with pytest.raises(asyncio.TimeoutError):
                    await cloud_hears()
            writer.close()
            _, again = await connect(link.address)
            again.write(b"y")
            assert await asyncio.wait_for(heard.get(), 10) == b"y"
            again.close()

    asyncio.run(main())


def test_what_silent_connections_hold_is_given_back_when_their_ends_have_gone() -> None:
    async def main() -> None:
        async with echoing(FREE) as link:
            writers = [(await connect(link.address))[1] for _ in range(20)]
            await until(lambda: link.open_connections == 20)
            link.half_open("edge")
            await until(lambda: link.silent_sockets == 20)
            before = descriptors()
            for writer in writers:
                writer.close()
                await writer.wait_closed()
            await round_trip(link.address)
            await until(lambda: link.silent_sockets == 0)
            await until(lambda: descriptors() <= before - 40)  # ours and theirs

    asyncio.run(main())


def test_slices_are_tiny_packets_that_add_up() -> None:
    async def main() -> None:
        sent = bytes(n % 251 for n in range(20_000))
        async with echoing(schedule=[at(0, "slice 7 up")]) as link:
            reader, writer = await connect(link.address)
            await asyncio.sleep(0.05)
            writer.write(sent)
            assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent
            writer.close()
            assert link.up.wire.passed.packets > len(sent) / 7

    asyncio.run(main())


def test_slices_end_at_the_same_bytes_for_one_seed_however_bytes_arrive() -> None:
    def ends(seed: str, *sizes: int) -> set[int]:
        lane: Any = Lane(wire=None, slice_bytes=9)  # type: ignore[arg-type]  # not asked
        cutter, at, found = Cutter(lane, seed), 0, set()
        for size in sizes:
            for piece in cutter.cut(bytes(size)):
                found.add(at := at + len(piece))
        return found

    whole = ends("1 1 up", 3000)
    assert ends("1 1 up", 3000) == whole
    assert ends("1 1 up", 1000, 1, 1999) == whole | {1000, 1001}
    assert ends("2 1 up", 3000) != whole


def test_a_schedule_happens_at_the_seconds_of_the_link() -> None:
    schedule = [at(1, "rate 100k"), at(3, "blackhole 2"), at(6, "rate 2M"), at(6.5, "delay 0.5")]

    async def main() -> None:
        sink, shape = Sink(), Shape(Trace.constant(1e6))
        async with (
            serving(sink) as target,
            LinkProxy(target, shape, speed=5, schedule=schedule) as link,
        ):
            began = time.monotonic() - link.clock.now() / 5
            _, writer = await connect(link.address)
            writer.write(bytes(300_000))
            writer.write_eof()
            await asyncio.wait_for(sink.ended.wait(), 30)
            writer.close()
        marks = (100_000, 150_000, 290_000)
        first, second, third = (
            next((t - began) * 5 for t, n in sink.arrivals if n >= mark) for mark in marks
        )
        # 125,000 bytes in the first second, 25,000 in the next two, then none until 5.
        assert 0.8 <= first < 1 + 5 * LATE_S
        assert second >= 2.5
        assert third >= 6.0

    asyncio.run(main())


def test_thousands_of_connections_leave_no_task_and_no_descriptor() -> None:
    async def main() -> None:
        async with serving(echo) as target:
            tasks, before = len(asyncio.all_tasks()), descriptors()
            async with LinkProxy(target, FREE) as link:
                for _ in range(20):
                    await asyncio.gather(*(round_trip(link.address, b"hi") for _ in range(100)))
                assert link.connections.accepted == 2000
                await until(lambda: link.open_connections == 0)
                many = [await connect(link.address) for _ in range(400)]
                await until(lambda: link.open_connections == 400)
                link.reset()
                for _, writer in many:
                    writer.close()
            await until(lambda: len(asyncio.all_tasks()) == tasks)
            await until(lambda: descriptors() <= before)

    asyncio.run(main())


def test_a_link_that_closes_in_the_middle_leaves_nothing() -> None:
    async def main() -> None:
        sink = Sink()
        async with serving(sink) as target:
            tasks, before = len(asyncio.all_tasks()), descriptors()
            async with LinkProxy(target, Shape(Trace.constant(100e3))) as link:
                _, writer = await connect(link.address)
                writer.write(bytes(1_000_000))
                await asyncio.sleep(0.2)
                link.half_open()
                _, other = await connect(link.address)
                other.write(bytes(1_000_000))
                await asyncio.sleep(0.1)
            for each in (writer, other):
                each.transport.abort()
            await until(lambda: len(asyncio.all_tasks()) == tasks)
            await until(lambda: descriptors() <= before)

    asyncio.run(main())


def test_more_connections_than_allowed_are_reset() -> None:
    async def main() -> None:
        async with echoing(FREE, max_connections=2) as link:
            held = [await connect(link.address) for _ in range(2)]
            await until(lambda: link.open_connections == 2)
            reader, writer = await connect(link.address)
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(reader.read(), 10)
            for each in (writer, *(w for _, w in held)):
                each.close()
            assert link.connections.refused == 1

    asyncio.run(main())


def test_unshaped_it_relays_20_mbit_a_second() -> None:
    async def main() -> None:
        async with echoing(FREE) as link:
            took_s = await round_trip(link.address, bytes(10_000_000))
            assert 10 * 8 / took_s > 20

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinkProxy("nowhere", FREE), "HOST:PORT"),
        (lambda: LinkProxy("127.0.0.1:1", FREE, speed=0), "speed of 0"),
        (lambda: LinkProxy("127.0.0.1:1", FREE, listen="192.0.2.1:1"), "cannot listen"),
        (
            lambda: LinkProxy("127.0.0.1:1", FREE, start_s=5, schedule=[at(1, "reset")]),
            "'1 reset' lies before the start at 5 s",
        ),
        (lambda: Shape(None, -1), "delay of -1 s"),
        (lambda: Shape(None, 0, 10), "queue of 10 bytes"),
    ],
)
def test_what_cannot_be_is_an_error_in_words(make: Callable[[], Any], message: str) -> None:
    async def main() -> None:
        async with make():
            pass

    with pytest.raises(ConfigError, match=message):
        asyncio.run(main())


async def round_trip(address: str, data: bytes = b"x") -> float:
    """Seconds until an echo of ``data`` is complete, on a connection of its own."""
    reader, writer = await connect(address)
    began = time.monotonic()
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 30) == data
    took = time.monotonic() - began
    writer.close()
    await writer.wait_closed()
    return took


def descriptors() -> int:
    """How many this process has open, without what is only waiting to be collected."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")
