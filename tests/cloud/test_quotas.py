"""What one device takes, no other has to do without."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from saccade.bundle import Bundle
from saccade.errors import LimitExceeded
from saccade.v1 import vision_pb2 as pb
from saccade_cloud import stream_limits as tenancy
from saccade_cloud.assemble import open_engine
from saccade_cloud.quotas import BURST_S, Bucket, Quota, Quotas
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.server_tls import ServerTls
from saccade_cloud.store.base import Store
from saccade_cloud.store.no_store import NoStore
from saccade_cloud.store.store_types import PacketRecord
from saccade_testing.certificates import Authority
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    GatedEngine,
    Served,
    channel_to,
    packet,
    question,
    serving,
    until,
)

Work = Callable[[Served], Awaitable[None]]


def run(bundle: Bundle, work: Work, settings: ServerSettings = QUICK) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings) as served:
            await asyncio.wait_for(work(served), 90)

    asyncio.run(main())


async def refusal(edge: EdgeEnd) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.hear_all()
    return caught.value.code(), caught.value.details() or ""


class TestStreams:
    def test_the_newest_stream_of_a_camera_is_welcome_and_the_oldest_ends(
        self, bundle: Bundle
    ) -> None:
        async def work(served: Served) -> None:
            edges = [EdgeEnd(served, bundle) for _ in range(3)]
            other = EdgeEnd(served, bundle)
            await other.greet(device="mast")
            for edge in edges:
                assert (await edge.greet()).HasField("welcome")
            status, details = await refusal(edges[0])
            assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (
                details == "limit: a newer stream of this camera came, and 2 at once is the limit"
            )
            for edge in (*edges[1:], other):
                await edge.say(packet=packet(5))
                assert (await edge.hear()).ack.sequence == 5

        run(bundle, work)

    def test_a_box_with_many_cameras_has_a_stream_for_each(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edges = [EdgeEnd(served, bundle) for _ in range(5)]
            for number, edge in enumerate(edges):
                await edge.greet(cameras=[f"camera-{number}"])
            _, details = await refusal(edges[0])
            assert "a newer stream of this device came, and 4 at once is the limit" in details
            for edge in edges[1:]:
                await edge.say(packet=packet(5))
                assert (await edge.hear()).ack.sequence == 5

        run(bundle, work, replace(QUICK, quota=Quota(streams=4)))

    def test_places_are_given_back(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            for _ in range(6):
                edge = EdgeEnd(served, bundle)
                await edge.greet()
                edge.call.cancel()
            await until(lambda: not any(c.connected for c in served.cloud.frames.cameras()))
            kept = EdgeEnd(served, bundle)
            await kept.greet()
            second = EdgeEnd(served, bundle)
            await second.greet()
            await kept.say(packet=packet(5))
            assert (await kept.hear()).ack.sequence == 5

        run(bundle, work)

    def test_an_edge_that_reads_nothing_is_cut_off(
        self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It answers pings, so that only its silence tells."""
        monkeypatch.setattr(tenancy, "LINGER_S", 0.5)
        narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 0)]

        async def work(served: Served) -> None:
            async with channel_to(served.address, None, narrow) as channel:
                deaf = EdgeEnd(served, bundle, channel)
                await deaf.greet(device="deaf")
                with suppress(asyncio.TimeoutError, grpc.aio.AioRpcError):
                    await asyncio.wait_for(_talk(deaf), 3)
                await until(lambda: not any(c.connected for c in served.cloud.frames.cameras()))

        run(bundle, work, replace(QUICK, stalled_timeout_s=0.5))


async def _talk(edge: EdgeEnd) -> None:
    sequence = 1
    while True:
        await edge.say(packet=packet(sequence))
        sequence += 1


class TestRates:
    @pytest.mark.parametrize(
        "quota", [Quota(messages_per_s=20), Quota(bytes_per_s=20 * packet().ByteSize())]
    )
    def test_a_device_that_floods_is_read_slowly_and_loses_nothing(
        self, bundle: Bundle, quota: Quota, caplog: pytest.LogCaptureFixture
    ) -> None:
        count = 80  # 40 of them at once, 40 at 20 a second

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            began = time.monotonic()
            acks = asyncio.create_task(_acks(edge, count))
            for sequence in range(1, count + 1):
                await edge.say(packet=packet(sequence))
            assert await acks == list(range(1, count + 1))
            took_s = time.monotonic() - began
            assert took_s >= (count - 20 * BURST_S) / 20 * 0.8
            # On a slow machine they come more slowly by themselves, and fewer have to wait.
            assert served.cloud.quotas.slowed > 0
            assert caplog.text.count("device kerb sends faster than its quota") == 1

        run(bundle, work, replace(QUICK, quota=quota))

    def test_a_flood_slows_no_other_device(self, bundle: Bundle) -> None:
        """Answers of a quiet device take at most a few times as long as without the flood."""

        async def work(served: Served) -> None:
            quiet = EdgeEnd(served, bundle)
            await quiet.greet(device="quiet")
            alone_s = await _round_trips(quiet, 1, 30)
            async with channel_to(served.address, None) as channel:
                loud = EdgeEnd(served, bundle, channel)
                await loud.greet(device="loud")
                flood = asyncio.create_task(_talk(loud))
                reading = asyncio.create_task(_acks(loud, 1 << 30))
                await until(lambda: served.cloud.quotas.slowed > 0)
                beside_s = await _round_trips(quiet, 101, 30)
                for task in (flood, reading):
                    task.cancel()
            print(f"a round trip: {alone_s * 1e3:.1f} ms alone, {beside_s * 1e3:.1f} ms beside it")
            assert beside_s < 5 * alone_s + 0.05

        run(bundle, work, replace(QUICK, quota=Quota(messages_per_s=50)))

    def test_questions_count_too(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await edge.say(packet=packet())
            for number in range(1, 31):
                await edge.say(question=question(number))
                await edge.answer(number)
            assert served.cloud.quotas.slowed > 0

        run(bundle, work, replace(QUICK, quota=Quota(messages_per_s=3)))


class TestPlaces:
    def test_two_devices_cannot_take_the_cameras_of_all(self, bundle: Bundle) -> None:
        """16 streams of 64 names each, twice, once took all 2,048 places."""

        async def work(served: Served) -> None:
            for device in ("greedy-1", "greedy-2"):
                refused = 0
                for number in range(16):
                    edge = EdgeEnd(served, bundle)
                    names = [f"{number}-{name}" for name in range(64)]
                    message = await edge.greet(device=device, cameras=names)
                    refused += message.failure.code == "limit"
                assert refused == 15
            assert len(served.cloud.frames.cameras()) == 128
            honest = EdgeEnd(served, bundle)
            assert (await honest.greet(cameras=[f"c{n}" for n in range(16)])).HasField("welcome")

        run(bundle, work)

    @pytest.mark.parametrize("greedy", [1, 2, 20, 200])
    def test_however_many_are_greedy_a_newcomer_has_its_camera(self, greedy: int) -> None:
        quotas = Quotas(Quota(streams_per_camera=100), 4096, 2048)
        refused = 0
        for number in range(greedy):
            for stream in range(16):
                names = [f"{stream}-{name}" for name in range(8)]
                try:
                    quotas.enter(f"greedy-{number}", names, lambda _: None)
                except LimitExceeded:
                    refused += 1
        assert refused >= 8 * greedy
        for number in range(100):
            quotas.enter(f"honest-{number}", ["north"], lambda _: None)

    def test_a_device_that_comes_and_goes_with_new_names_is_not_refused(self) -> None:
        quotas = Quotas(Quota())
        for number in range(100):
            stream = quotas.enter("kerb", [f"{number}-{name}" for name in range(64)], _nothing)
            quotas.leave(stream)
            quotas.leave(stream)

    def test_who_is_refused_displaces_nobody(self) -> None:
        quotas, displaced = Quotas(Quota(streams=2, cameras=3)), list[str]()
        for name in "ab":
            quotas.enter("kerb", [name], displaced.append)
        with pytest.raises(LimitExceeded, match="cameras of kerb"):
            quotas.enter("kerb", ["c", "d", "e"], displaced.append)
        assert displaced == []
        quotas.enter("kerb", ["c", "d"], displaced.append)
        assert displaced == ["a newer stream of this device came, and 2 at once is the limit"]

    def test_more_questions_of_one_device_than_allowed_are_refused_one_by_one(
        self, bundle: Bundle
    ) -> None:
        engine = GatedEngine(open_engine(bundle))

        async def main() -> None:
            settings = replace(QUICK, quota=Quota(questions=5))
            async with serving(bundle, engine, settings) as served:
                edges = [EdgeEnd(served, bundle) for _ in range(2)]
                for edge in edges:
                    await edge.greet()
                    await edge.say(packet=packet())
                    await edge.hear()
                    for number in range(1, 4):
                        await edge.say(question=question(number))
                failure = (await _first_failure(edges[1])).failure
                assert (failure.code, failure.fatal) == ("limit", False)
                assert "5 questions of device kerb are open" in failure.message
                other = EdgeEnd(served, bundle)
                await other.greet(device="mast")
                await other.say(packet=packet())
                await other.say(question=question(1))
                engine.gate.set()
                assert (await other.answer(1))[0]

        asyncio.run(main())

    def test_packets_that_take_long_to_decode_slow_their_own_device(self) -> None:
        now_s = [0.0]
        quotas = Quotas(Quota(decoding=0.25), clock=lambda: now_s[0])
        slow, quick = (quotas.enter(name, ["c"], _nothing) for name in ("slow", "quick"))
        assert quotas.decoded(slow, 0.5) == 0, "two seconds' worth at once"
        assert quotas.decoded(slow, 0.5) == pytest.approx(2.0)
        assert quotas.decoded(quick, 0.1) == 0
        quotas.leave(slow)
        again = quotas.enter("slow", ["c"], _nothing)
        assert quotas.decoded(again, 0.25) == pytest.approx(3.0), "leaving pays no debt"
        assert quotas.slowed == 2

    def test_bytes_that_were_sent_count_also_after_leaving(self) -> None:
        quotas = Quotas(Quota(bytes_per_s=1000), clock=lambda: 0.0)
        stream = quotas.enter("kerb", ["c"], _nothing)
        assert quotas.take(stream, 5000) == pytest.approx(3.0)
        quotas.leave(stream)
        again = quotas.enter("kerb", ["c"], _nothing)
        assert quotas.take(again, 1000) == pytest.approx(4.0)

    def test_packets_on_their_way_to_a_slow_disk_hold_up_their_own_device(
        self, bundle: Bundle
    ) -> None:
        async def main() -> None:
            settings = replace(QUICK, quota=Quota(storing=4))
            async with serving(bundle, settings=settings) as served:
                held = _HeldStore(served.cloud.store)
                object.__setattr__(served.cloud, "store", held)
                greedy, other = EdgeEnd(served, bundle), EdgeEnd(served, bundle)
                await greedy.greet(device="greedy")
                await other.greet(device="other")

                async def send() -> None:
                    for sequence in range(1, 21):
                        await greedy.say(packet=packet(sequence))

                # Beside the rest: what the cloud does not read, HTTP/2 holds back here.
                sending = asyncio.create_task(send())
                await until(lambda: len(held.waiting) == 4)
                await other.say(packet=packet(1))
                await until(lambda: len(held.waiting) == 5)
                await asyncio.sleep(0.2)
                assert len(held.waiting) == 5
                held.let_go()
                acked = [(await greedy.hear()).ack.sequence for _ in range(20)]
                assert acked == list(range(1, 21))
                await sending

        asyncio.run(main())


class _HeldStore(NoStore):
    """Keeps nothing, and says so only when it is let go."""

    def __init__(self, _: Store) -> None:
        self.waiting: list[asyncio.Future[bool]] = []
        self._held = True

    async def put(self, packet: PacketRecord) -> asyncio.Future[bool]:
        if not self._held:
            return await super().put(packet)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return self.waiting[-1]

    def let_go(self) -> None:
        self._held = False
        for each in self.waiting:
            each.set_result(False)


def _nothing(_: str) -> None:
    """Nobody is displaced here."""


async def _first_failure(edge: EdgeEnd) -> pb.CloudMessage:
    while not (message := await edge.hear()).HasField("failure"):
        pass
    return message


async def _acks(edge: EdgeEnd, count: int) -> list[int]:
    return [(await edge.hear()).ack.sequence for _ in range(count)]


async def _round_trips(edge: EdgeEnd, first: int, count: int) -> float:
    """Seconds from a packet to its acknowledgement, in the median."""
    times = []
    for sequence in range(first, first + count):
        began = time.monotonic()
        await edge.say(packet=packet(sequence))
        await edge.hear()
        times.append(time.monotonic() - began)
    return sorted(times)[count // 2]


class TestBuckets:
    def test_a_bucket_gives_its_rate_and_its_burst_and_no_more(self) -> None:
        bucket = Bucket(10.0, 0.0)
        now_s, taken = 0.0, 0
        while now_s < 60:
            now_s += bucket.take(1, now_s)
            taken += 1
        assert taken == pytest.approx(10 * (60 + BURST_S), abs=2)

    def test_rest_fills_it_to_the_brim_only(self) -> None:
        bucket = Bucket(10.0, 0.0)
        for _ in range(20):
            assert bucket.take(1, 0.0) == 0
        assert bucket.take(1, 0.0) == pytest.approx(0.1)
        assert not bucket.full(1.0)
        assert bucket.full(1000.0)
        assert bucket.level(1000.0) == 20

    def test_devices_that_left_are_forgotten_but_not_before_their_debt(self) -> None:
        now_s = [0.0]
        quotas = Quotas(Quota(messages_per_s=10), clock=lambda: now_s[0])
        for number in range(1000):
            stream = quotas.enter(f"device-{number}", ["north"], lambda _: None)
            for _ in range(40):
                quotas.take(stream, 100)
            quotas.leave(stream)
        again = quotas.enter("device-0", ["north"], lambda _: None)
        assert quotas.take(again, 100) == pytest.approx(2.1), "leaving pays no debt"
        quotas.leave(again)
        now_s[0] = 100.0
        quotas.enter("mast", ["north"], lambda _: None)
        assert list(quotas._devices) == ["mast"]


class TestHandshakes:
    def test_a_thousand_refused_handshakes_leave_nothing_behind(
        self, bundle: Bundle, authority: Authority
    ) -> None:
        settings = replace(QUICK, tls=ServerTls(*authority.server))

        async def main() -> None:
            async with serving(bundle, settings=settings, tls=authority.device()) as served:
                edge = EdgeEnd(served, bundle)
                await edge.greet()
                await asyncio.to_thread(_refused, served.address, authority, 200)
                before = await _footprint()
                await asyncio.to_thread(_refused, served.address, authority, 1000)
                after = await _footprint(before[0])
                tasks, files, kilobytes = (b - a for a, b in zip(before, after, strict=True))
                print(f"1,000 refused handshakes: {tasks} tasks, {files} files, {kilobytes} kB")
                assert tasks <= 0
                assert files <= 2
                assert kilobytes < 16_000
                await edge.say(packet=packet(5))
                assert (await edge.hear()).ack.sequence == 5

        asyncio.run(main())


class TestResets:
    def test_calls_that_are_reset_at_once_leave_nothing_behind(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            await asyncio.to_thread(_reset_rapidly, served.address, 1000)
            slowest_s, sequence, grown_kb = 0.0, 0, list[int]()
            # Until nothing grows any more: allocators take their arenas once, a leak never ends.
            while not grown_kb or (grown_kb[-1] > 2000 and len(grown_kb) < 10):
                before = await _footprint()
                flood = asyncio.create_task(asyncio.to_thread(_reset_rapidly, served.address, 5000))
                while not flood.done():
                    sequence += 1
                    began = time.monotonic()
                    await edge.say(packet=packet(sequence))
                    assert (await edge.hear()).ack.sequence == sequence
                    slowest_s = max(slowest_s, time.monotonic() - began)
                await flood
                after = await _footprint(before[0])
                tasks, files, kilobytes = (b - a for a, b in zip(before, after, strict=True))
                print(f"5,000 resets: {tasks} tasks, {files} files, {kilobytes} kB, "
                      f"a packet beside them at most {slowest_s * 1e3:.0f} ms")  # fmt: skip
                assert tasks <= 0
                assert files <= 2
                grown_kb.append(kilobytes)
            assert sequence > 0
            assert grown_kb[-1] <= 2000
            assert slowest_s < 10

        run(bundle, work)


def _refused(address: str, authority: Authority, count: int) -> None:
    """Hellos of TLS by nobody that we know; every tenth is no TLS at all."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(authority.ca))
    for number in range(count):
        with suppress(OSError), socket.create_connection((host, int(port)), 10) as plain:
            if number % 10 == 0:
                plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
                plain.recv(100)
                continue
            with context.wrap_socket(plain, server_hostname=host) as connection:
                assert connection.recv(1) == b"", "nobody without a certificate is let in"


def _reset_rapidly(address: str, count: int) -> None:
    """Calls that are opened and reset at once (CVE-2023-44487), on as many connections as it
    takes: the server may close one that does this.
    """
    host, _, port = address.rpartition(":")
    names = {":method": "POST", ":scheme": "http", ":path": "/saccade.v1.Vision/Connect",
             ":authority": "x", "content-type": "application/grpc", "te": "trailers"}  # fmt: skip
    # HPACK (RFC 7541, section 6.2.2): literals, without Huffman code and outside the table.
    block = b"".join(
        b"\0" + bytes([len(n)]) + n.encode() + bytes([len(v)]) + v.encode()
        for n, v in names.items()
    )
    done = 0
    while done < count:
        with suppress(OSError), socket.create_connection((host, int(port)), 10) as plain:
            plain.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b""))
            for number in range(500):
                stream = 2 * number + 1
                done += 1
                reset = _frame(3, 0, stream, (8).to_bytes(4, "big"))
                plain.sendall(_frame(1, 4, stream, block) + reset)


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """Of HTTP/2 (RFC 9113, section 4.1)."""
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


async def _footprint(tasks_before: int = 0) -> tuple[int, int, int]:
    """Tasks, open files and resident kB, once the server has closed what it closes. A busy machine
    closes slowly: up to ten seconds are given to come back to ``tasks_before``.
    """
    for _ in range(10):
        await asyncio.sleep(1)
        if not tasks_before or len(asyncio.all_tasks()) <= tasks_before:
            break
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(os.listdir("/proc/self/fd"))
    return len(asyncio.all_tasks()), files, pages * resource.getpagesize() // 1024
