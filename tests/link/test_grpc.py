"""A cloud and gRPC over the emulated link."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from bench.link.link_events import parse
from bench.link.proxy import LinkProxy
from bench.link.trace import Trace
from bench.link.wire import Shape

from saccade.bundle import Bundle
from saccade.v1 import fleet_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_testing.cloud_server import hello, packet, serving

# A new channel for each call: gRPC would otherwise share one connection among them.
ALONE = [("grpc.use_local_subchannel_pool", 1)]


async def cameras(address: str, limit_s: float) -> Any:
    async with grpc.aio.insecure_channel(address, options=ALONE) as channel:
        stub: Any = FleetStub(channel)
        request = fleet_pb2.ListCamerasRequest()
        return await stub.ListCameras(request, timeout=limit_s, wait_for_ready=True)


def test_an_edge_greets_and_sends_frames_through_it(bundle: Bundle) -> None:
    async def main() -> None:
        async with serving(bundle) as served:
            shape = Shape(Trace.constant(1e6), 0.1)
            async with LinkProxy(served.address, shape, speed=4) as link:
                async with grpc.aio.insecure_channel(link.address, options=ALONE) as channel:
                    began_s = link.clock.now()
                    stub: Any = VisionStub(channel)
                    call = stub.Connect()
                    await call.write(pb.EdgeMessage(hello=hello(bundle)))
                    assert (await asyncio.wait_for(call.read(), 30)).HasField("welcome")
                    for sequence in range(1, 6):
                        await call.write(pb.EdgeMessage(packet=packet(sequence)))
                        reply = await asyncio.wait_for(call.read(), 30)
                        assert reply.ack.sequence == sequence
                    # The handshake, the greeting and five frames, each there and back.
                    assert link.clock.now() - began_s >= 7 * 0.2
                    call.cancel()
                assert link.up.wire.passed.bytes > 5 * packet(1).ByteSize()

    asyncio.run(main())


def test_a_call_outlives_a_blackhole_and_a_reset_is_unavailable(bundle: Bundle) -> None:
    async def main() -> None:
        async with serving(bundle) as served:
            async with LinkProxy(served.address, Shape(), speed=5) as link:
                link.blackhole(5)
                await cameras(link.address, 30)
                assert link.clock.now() >= 5
            cut = [parse("reset", 2)]
            async with (
                LinkProxy(served.address, Shape(None, 5), schedule=cut) as link,
                grpc.aio.insecure_channel(link.address, options=ALONE) as channel,
            ):
                stub: Any = FleetStub(channel)
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=30)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    asyncio.run(main())


def test_a_half_open_connection_is_a_deadline(bundle: Bundle) -> None:
    async def main() -> None:
        async with serving(bundle) as served, LinkProxy(served.address, Shape()) as link:
            async with grpc.aio.insecure_channel(link.address, options=ALONE) as channel:
                stub: Any = FleetStub(channel)
                await stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=30)
                link.half_open("edge")
                began = time.monotonic()
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.ListCameras(fleet_pb2.ListCamerasRequest(), timeout=1)
                assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                assert time.monotonic() - began >= 0.9
            await cameras(link.address, 30)

    asyncio.run(main())


def test_slices_change_nothing_for_grpc(bundle: Bundle) -> None:
    async def main() -> None:
        async with serving(bundle) as served, LinkProxy(served.address, Shape()) as link:
            link.set_slice(3)
            await cameras(link.address, 30)
            assert link.up.wire.passed.packets > 100

    asyncio.run(main())
