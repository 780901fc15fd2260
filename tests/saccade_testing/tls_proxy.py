"""A proxy that ends the edge's TLS, reads all that is said, and may change it on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import google_crc32c
import grpc

from saccade.tasks import end
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionServicer, VisionStub, add_VisionServicer_to_server

Context = grpc.aio.ServicerContext[Any, Any]
Change = Callable[[pb.EdgeMessage], None]
CRC_BYTES = 4


class _Proxy(VisionServicer):
    def __init__(self, cloud: str, change: Change) -> None:
        self._cloud = cloud
        self._change = change

    async def Connect(  # type: ignore[override]  # noqa: N802 - the stub's name and looser types
        self, request_iterator: AsyncIterator[pb.EdgeMessage], context: Context
    ) -> None:
        async with grpc.aio.insecure_channel(self._cloud) as channel:
            call: Any = VisionStub(channel).Connect()
            upwards = asyncio.ensure_future(self._up(request_iterator, call))
            try:
                while isinstance(message := await call.read(), pb.CloudMessage):
                    await context.write(message)
            finally:
                await end(upwards)

    async def Infer(  # type: ignore[override]  # noqa: N802 - as above
        self, request: pb.InferRequest, context: Context
    ) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "edges do not call this")

    async def _up(self, messages: AsyncIterator[pb.EdgeMessage], call: Any) -> None:
        async for message in messages:
            self._change(message)
            await call.write(message)
        await call.done_writing()


def flip_tokens(packet: tokens_pb2.FramePacket) -> None:
    """A tenth of the half floats in the base layer's second half, and the checksum to it."""
    layer = bytearray(packet.layers[0][:-CRC_BYTES])
    for at in range(len(layer) - 2, len(layer) // 2, -20):
        layer[at] ^= 0xFF  # low bytes of the mantissa: all stay finite
    checksum = int(google_crc32c.value(bytes(layer)))
    packet.layers[0] = bytes(layer) + checksum.to_bytes(CRC_BYTES, "little")


@asynccontextmanager
async def tls_proxy(
    cloud: str, credentials: grpc.ServerCredentials, change: Change
) -> AsyncIterator[str]:
    """Its address; ``change`` may change what an edge says."""
    server = grpc.aio.server()
    add_VisionServicer_to_server(_Proxy(cloud, change), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
