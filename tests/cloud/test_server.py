from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_testing.cloud_server import QUICK, Served, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def run(
    bundle: Bundle, work: Callable[[Served], Awaitable[None]], settings: ServerSettings = QUICK
) -> None:
    async def main() -> None:
        async with serving(bundle, settings=settings) as served:
            await work(served)

    asyncio.run(main())


def test_health_says_serving_for_each_service_and_not_serving_when_it_stops(
    bundle: Bundle,
) -> None:
    async def work(served: Served) -> None:
        health: Any = health_pb2_grpc.HealthStub(served.channel)
        for service in ("", "saccade.v1.Vision", "saccade.v1.Fleet"):
            reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(service="saccade.v1.Vision"))
        assert (await watch.read()).status == SERVING
        stopping = asyncio.create_task(served.server.stop())
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        await stopping

    run(bundle, work)


def test_reflection_lists_the_services(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast(grpc.Channel, served.channel))
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = (await call.read()).list_services_response.service
        assert {"saccade.v1.Vision", "saccade.v1.Fleet"} <= {service.name for service in listed}
        call.cancel()

    run(bundle, work)


def test_a_port_that_is_taken_is_an_error_in_words(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        taken = replace(QUICK, address=Address.parse(served.address))
        with pytest.raises(ConfigError, match=f"cannot listen on {served.address}"):
            async with serving(bundle, settings=taken):
                pass

    run(bundle, work)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "[::]", "camera.example"])
def test_plain_text_beyond_this_machine_is_refused(bundle: Bundle, host: str) -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        replace(QUICK, address=Address.parse(f"{host}:0")).check()
    replace(QUICK, address=Address.parse(f"{host}:0"), insecure=True).check()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "[::1]"])
def test_this_machine_may_be_served_in_plain_text(host: str) -> None:
    replace(QUICK, address=Address.parse(f"{host}:1")).check()


@pytest.mark.parametrize("text", ["", "7860", ":7860", "host:", "host:x", "host:70000", "host:-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Address.parse(text)


def test_stopping_twice_is_safe(bundle: Bundle) -> None:
    async def work(served: Served) -> None:
        await served.server.stop()
        await served.server.stop()

    run(bundle, work)
