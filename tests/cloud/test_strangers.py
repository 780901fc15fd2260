"""What strangers and applications do takes nothing from devices: attacks, by real clients."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from saccade.bundle import Bundle
from saccade.tls import ClientTls
from saccade.v1 import fleet_pb2
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_cloud.api_keys import add_api_key
from saccade_cloud.refusal_counts import REFUSALS, Refusals, host_of
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.server_tls import ServerTls
from saccade_testing import http2
from saccade_testing.certificates import Authority
from saccade_testing.cloud_server import (
    QUICK,
    EdgeEnd,
    Served,
    channel_to,
    packet,
    serving,
    until,
)

Work = Callable[[Served], Awaitable[None]]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNARY = b"/saccade.v1.Fleet/ListCameras"
NOT_UTF8 = b"/saccade.v1.Vision/\xff\xfe"


def run(
    bundle: Bundle, work: Work, settings: ServerSettings = QUICK, tls: ClientTls | None = None
) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings, tls=tls) as served:
            await asyncio.wait_for(work(served), 90)

    asyncio.run(main())


async def check_a_new_device_is_served(
    served: Served, bundle: Bundle, tls: ClientTls | None = None
) -> None:
    """On a connection of its own, at once."""
    async with channel_to(served.address, tls) as channel:
        edge = EdgeEnd(served, bundle, channel)
        assert (await edge.greet()).HasField("welcome")
        await edge.say(packet=packet())
        assert (await edge.hear()).HasField("ack")
        edge.call.cancel()


async def hold(
    stack: AsyncExitStack,
    address: str,
    tls: ClientTls | None,
    begin: Callable[[grpc.aio.Channel], Any],
    connections: int,
    calls: int,
) -> list[Any]:
    """So many calls on so many connections, all left open."""
    held = []
    for _ in range(connections):
        channel = await stack.enter_async_context(channel_to(address, tls))
        held += [begin(channel) for _ in range(calls)]
    return held


def watch_health(channel: grpc.aio.Channel) -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    return stub.Watch(health_pb2.HealthCheckRequest())


class TestHeldCalls:
    def test_health_watches_at_the_applications_address_take_nothing_from_devices(
        self, bundle: Bundle, authority: Authority, tmp_path: Path
    ) -> None:
        """34 connections of 128 calls once held all that the cloud took at once."""
        api_keys = tmp_path / "api-keys.txt"
        bearer = (("authorization", f"Bearer {add_api_key(api_keys, 'dashboard')}"),)
        settings = replace(
            QUICK,
            tls=ServerTls(*authority.server),
            api_keys=api_keys,
            apps=Address("127.0.0.1", 0),
        )

        async def work(served: Served) -> None:
            apps, trusting = str(served.server.apps), authority.trusting()
            async with AsyncExitStack() as stack:
                held = await hold(stack, apps, trusting, watch_health, 34, 128)
                firsts = await asyncio.gather(*(_first(call) for call in held))
                watching = sum(isinstance(each, health_pb2.HealthCheckResponse) for each in firsts)
                assert 1 <= watching <= settings.health_watches
                refused = {each for each in firsts if isinstance(each, grpc.StatusCode)}
                # gRPC itself refuses some of a burst that is longer than its own queue.
                assert EXHAUSTED in refused <= {EXHAUSTED, grpc.StatusCode.CANCELLED}
                await check_a_new_device_is_served(served, bundle, authority.device())
                async with channel_to(apps, trusting) as channel:
                    stub: Any = health_pb2_grpc.HealthStub(channel)
                    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1
                    fleet: Any = FleetStub(channel)
                    asked = fleet_pb2.ListCamerasRequest()
                    assert await fleet.ListCameras(asked, metadata=bearer)

        run(bundle, work, settings, authority.device())

    def test_a_health_watch_ends_after_a_while(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            call = watch_health(served.channel)
            assert (await call.read()).status == 1
            assert await asyncio.wait_for(_ending(call), 5) is grpc.StatusCode.UNAVAILABLE

        run(bundle, work, replace(QUICK, health_watch_s=0.2))

    def test_watches_of_one_service_end_each_for_itself(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            first, second = watch_health(served.channel), watch_health(served.channel)
            for call in (first, second):
                assert (await call.read()).status == 1
            first.cancel()
            await until(lambda: served.server.shares.watches.used == 1)
            stopping = asyncio.create_task(served.server.stop())
            assert (await asyncio.wait_for(second.read(), 5)).status == 2
            second.cancel()
            await stopping

        run(bundle, work)

    @pytest.mark.parametrize(
        "path",
        [
            *("/saccade.v1.Vision/Connect", "/grpc.health.v1.Health/Check"),
            *("/saccade.v1.Fleet/ListCameras", "/saccade.v1.Vision/Infer"),
        ],
    )
    def test_calls_that_say_nothing_make_room_for_those_that_do(
        self, bundle: Bundle, path: str
    ) -> None:
        def begin(channel: grpc.aio.Channel) -> Any:
            return channel.stream_stream(path)()

        async def work(served: Served) -> None:
            async with AsyncExitStack() as stack:
                held = await hold(stack, served.address, None, begin, 10, 40)
                await until(lambda: any(call.done() for call in held))
                began_s = time.monotonic()
                await check_a_new_device_is_served(served, bundle)
                assert time.monotonic() - began_s < 5
                await until(lambda: sum(not call.done() for call in held) <= 64)
                for call in [call for call in held if call.done()][:5]:
                    assert await call.code() is EXHAUSTED

        run(bundle, work, replace(QUICK, silent_calls=64, hello_timeout_s=30.0))

    def test_applications_have_places_of_their_own(self, bundle: Bundle) -> None:
        """Without TLS everybody comes to one address."""

        def watch_answers(channel: grpc.aio.Channel) -> Any:
            stub: Any = FleetStub(channel)
            return stub.Watch(fleet_pb2.WatchRequest())

        async def work(served: Served) -> None:
            async with AsyncExitStack() as stack:
                await hold(stack, served.address, None, watch_answers, 20, 20)
                await until(lambda: served.cloud.broadcast.subscribers >= 20)
                await check_a_new_device_is_served(served, bundle)
                assert served.cloud.broadcast.subscribers <= 64
                async with channel_to(served.address, None) as channel:
                    fleet: Any = FleetStub(channel)
                    assert await fleet.ListCameras(fleet_pb2.ListCamerasRequest())

        run(bundle, work, replace(QUICK, application_calls=64))

    def test_one_application_has_so_many_watches(self, bundle: Bundle, tmp_path: Path) -> None:
        api_keys = tmp_path / "api-keys.txt"
        first, second = (
            (("authorization", f"Bearer {add_api_key(api_keys, name)}"),) for name in ("a", "b")
        )

        async def work(served: Served) -> None:
            watch = served.fleet.Watch
            held = [watch(fleet_pb2.WatchRequest(), metadata=first) for _ in range(5)]
            await until(lambda: sum(call.done() for call in held) == 2)
            refused = [call for call in held if call.done()]
            assert {await call.code() for call in refused} == {EXHAUSTED}
            other = watch(fleet_pb2.WatchRequest(), metadata=second)
            await until(lambda: served.cloud.broadcast.subscribers == 4)
            for call in (*held, other):
                call.cancel()

        run(bundle, work, replace(QUICK, api_keys=api_keys, watches_of_one_application=3))

    def test_a_device_is_refused_at_the_applications_address_before_it_says_anything(
        self, bundle: Bundle, authority: Authority, tmp_path: Path
    ) -> None:
        api_keys = tmp_path / "api-keys.txt"
        add_api_key(api_keys, "dashboard")
        settings = replace(
            QUICK,
            tls=ServerTls(*authority.server),
            api_keys=api_keys,
            apps=Address("127.0.0.1", 0),
            hello_timeout_s=60.0,
        )

        async def work(served: Served) -> None:
            async with channel_to(str(served.server.apps), authority.trusting()) as channel:
                stub: Any = VisionStub(channel)
                status = await asyncio.wait_for(_ending(stub.Connect()), 5)
                assert status is grpc.StatusCode.UNAUTHENTICATED

        run(bundle, work, settings, authority.device())

    def test_connections_beyond_the_limit_are_closed_and_others_go_on(self, bundle: Bundle) -> None:
        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            host, _, port = served.address.rpartition(":")
            pairs = [await asyncio.open_connection(host, int(port)) for _ in range(30)]
            await asyncio.sleep(0.5)
            closed = sum([await _is_closed(reader) for reader, _ in pairs])
            assert closed >= 20
            await edge.say(packet=packet())
            assert (await edge.hear()).HasField("ack")
            for _, writer in pairs:
                writer.close()

        run(bundle, work, replace(QUICK, device_connections=8))


class TestMalformed:
    @pytest.mark.parametrize(
        "method", ["saccade.v1.Vision/Infer", "saccade.v1.Vision/Connect", "saccade.v1.Fleet/Watch",
                   "saccade.v1.Fleet/ListCameras", "grpc.health.v1.Health/Check",
                   "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
    )  # fmt: skip
    def test_bytes_that_are_no_message_are_refused_in_one_line_for_many(
        self, bundle: Bundle, method: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def work(served: Served) -> None:
            before = REFUSALS.counts["malformed"]
            call: Any = served.channel.stream_stream(f"/{method}")
            for _ in range(200):
                assert await _status(call, b"\xff\xff\xff\xff") is (
                    grpc.StatusCode.FAILED_PRECONDITION
                )
            assert REFUSALS.counts["malformed"] == before + 200
            await check_a_new_device_is_served(served, bundle)

        REFUSALS.__init__()  # type: ignore[misc]  # no line of an earlier test counts
        run(bundle, work)
        # gRPC itself may break a call that is refused at such a pace: a line of another kind.
        assert _written(caplog, "malformed") == 1
        assert _written(caplog) <= 2
        assert f"4 bytes that are no message of /{method}" in caplog.text

    def test_a_name_that_is_no_text_ends_nothing_but_its_call(
        self, bundle: Bundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        """grpcio 1.85 alone ends the whole server."""

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            for path in (NOT_UTF8, b"\xff", b"/nobody/serves.this", b"/"):
                for _ in range(20):
                    reply = await asyncio.to_thread(
                        http2.throw, served.address, http2.called(path, b"")
                    )
                    assert b"grpc-status\x0212" in reply, path  # UNIMPLEMENTED
            await edge.say(packet=packet())
            assert (await edge.hear()).HasField("ack")
            await check_a_new_device_is_served(served, bundle)

        run(bundle, work)
        assert _written(caplog) == 0

    def test_what_is_no_grpc_at_all_leaves_no_traceback(
        self, bundle: Bundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        begun = http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0, b"")
        thrown = [
            os.urandom(2000),
            b"GET / HTTP/1.1\r\n\r\n",
            begun + os.urandom(2000),
            begun + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, os.urandom(200)),
            http2.called(UNARY, b"", [(b"authorization", b"\xff\xfe")]),
            http2.called(UNARY, b"", [(b"\xff\xfe", b"x")]),
            http2.called(UNARY, b"", [(b"x-bin", b"!!!")]),
            http2.called(UNARY, b"", [(b"grpc-timeout", b"never")]),
            http2.called(UNARY, b"", [(b"grpc-encoding", b"\xff")]),
            begun + http2.opened(UNARY) + http2.frame(http2.DATA, 1, 1, b"\1\0\0\0\2ab"),
            begun + http2.opened(UNARY) + http2.frame(http2.DATA, 1, 1, b"\0\xff\xff\xff\xffa"),
            begun + http2.opened(UNARY) + http2.frame(http2.DATA, 1, 1, b"\0\0\0\0\2a"),
            begun + http2.opened(UNARY) + http2.frame(http2.DATA, 1, 1, b""),
        ]

        async def work(served: Served) -> None:
            edge = EdgeEnd(served, bundle)
            await edge.greet()
            for sent in thrown * 10:
                await asyncio.to_thread(http2.throw, served.address, sent, 0.05)
            await edge.say(packet=packet())
            assert (await edge.hear()).HasField("ack")

        REFUSALS.__init__()  # type: ignore[misc]
        run(bundle, work)
        assert not [record for record in caplog.records if record.exc_info]
        assert _written(caplog) <= 4

    def test_a_defect_of_ours_still_leaves_its_traceback(
        self, bundle: Bundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def work(served: Served) -> None:
            monkeypatch.setattr(served.cloud.frames, "cameras", lambda: 1 / 0)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await served.fleet.ListCameras(fleet_pb2.ListCamerasRequest())
            assert caught.value.code() is grpc.StatusCode.INTERNAL

        run(bundle, work)
        assert "ZeroDivisionError" in caplog.text


class TestRefusals:
    def test_many_of_one_kind_are_one_line_and_their_number(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        now_s = [0.0]
        refusals = Refusals(clock=lambda: now_s[0])
        for port in range(1000):
            refusals.note("malformed", f"ipv4:192.0.2.7:{port}", "4 bytes", logging.WARNING)
        refusals.note("malformed", "ipv4:192.0.2.8:1", "5 bytes", logging.WARNING)
        refusals.note("headers", "ipv4:192.0.2.7:1", "odd", logging.WARNING)
        assert _written(caplog) == 3
        now_s[0] = 10.0
        refusals.note("malformed", "ipv4:192.0.2.7:9", "6 bytes", logging.WARNING)
        assert caplog.messages[-1].endswith("6 bytes (and 999 more since the last line)")
        assert refusals.counts == {"malformed": 1002, "headers": 1}

    def test_a_thousand_hosts_write_no_thousand_lines(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        refusals = Refusals(clock=lambda: 0.0)
        for host in range(1000):
            refusals.note("malformed", f"ipv6:%5B2001:db8::{host:x}%5D:1", "x", logging.WARNING)
        assert _written(caplog) <= 65

    def test_a_host_is_its_peer_without_the_port(self) -> None:
        assert host_of("ipv4:192.0.2.7:4711") == "192.0.2.7"
        assert host_of("ipv6:%5B::1%5D:4711") == "%5B::1%5D"
        assert host_of("unix:/run/x") == "unix:/run/x"


def _written(caplog: pytest.LogCaptureFixture, kind: str = "") -> int:
    """Warnings and worse, of one kind of refusal or of all."""
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    return len([text for text in warnings if not kind or f": {kind}: " in text])


async def _first(call: Any) -> object:
    """The first message, or the status of a call that has none."""
    try:
        return await call.read()
    except grpc.aio.AioRpcError as error:
        return error.code()


async def _ending(call: Any) -> grpc.StatusCode:
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    code: grpc.StatusCode = await call.code()
    return code


async def _status(method: Any, sent: bytes) -> grpc.StatusCode:
    call = method()
    await call.write(sent)
    return await asyncio.wait_for(_ending(call), 10)


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other end has closed it, having said no more than its settings."""
    try:
        while await asyncio.wait_for(reader.read(4096), 0.05):
            pass
    except asyncio.TimeoutError:
        return False
    except OSError:
        return True
    return True
