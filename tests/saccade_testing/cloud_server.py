"""A real server on a loopback port, and an edge to talk to it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc

from saccade.bundle import Bundle
from saccade.packet import pack
from saccade.session import PROTOCOL
from saccade.tls import ClientTls
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_cloud.assemble import open_cloud, open_engine
from saccade_cloud.cloud_context import CloudContext, ServedBundle
from saccade_cloud.engines.base import (
    Capabilities,
    Engine,
    EngineLimits,
    GenerateParams,
    Prompt,
    TokenChunk,
)
from saccade_cloud.packet_keys import PacketKeys
from saccade_cloud.server import CloudServer
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.store.store_opening import MEMORY, open_store
from saccade_testing.questions import wire_question
from saccade_testing.tokens import CAMERAS, EPOCH_UNIX_MS, usual_frame

# Edges are not bounded: on a slow machine a budget would come between the messages a test awaits.
QUICK = ServerSettings(address=Address("127.0.0.1", 0), drain_s=5.0, answer_wait_s=0)


@dataclass(frozen=True)
class Served:
    """A running server and stubs on one channel to it."""

    server: CloudServer
    cloud: CloudContext
    address: str
    channel: grpc.aio.Channel
    vision: Any  # stubs are typed for the synchronous channel
    fleet: Any

    @property
    def bundle(self) -> ServedBundle:
        """The only one, or the first."""
        return next(iter(self.cloud.bundles))


@asynccontextmanager
async def serving(
    bundle: Bundle,
    engine: Engine | None = None,
    settings: ServerSettings = QUICK,
    tls: ClientTls | None = None,
    store: str = MEMORY,
    more: Sequence[Bundle] = (),
    keys: PacketKeys | None = None,
) -> AsyncIterator[Served]:
    """``tls``: of the channel that comes with it; ``more``: bundles beside ``bundle``."""
    kept = open_store(store, timeout_s=settings.store_timeout_s)
    engines = [engine or open_engine(bundle), *map(open_engine, more)]
    served = list(zip([bundle, *more], engines, strict=True))
    cloud = open_cloud(served, settings, kept, keys)
    server = CloudServer(cloud)
    address = str(await server.start())
    try:
        async with channel_to(address, tls) as channel:
            yield Served(server, cloud, address, channel, VisionStub(channel), FleetStub(channel))
    finally:
        await server.stop()


def channel_to(
    address: str, tls: ClientTls | None, options: Sequence[tuple[str, int]] = ()
) -> grpc.aio.Channel:
    """A connection of its own, shared with no other channel."""
    apart = [*options, ("grpc.use_local_subchannel_pool", 1)]
    if tls is None:
        return grpc.aio.insecure_channel(address, apart)
    return grpc.aio.secure_channel(address, tls.credentials(), apart)


class GatedEngine:
    """An engine whose answers stop after their first chunk until ``gate`` is set."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = asyncio.Event()
        self.running = 0

    @property
    def limits(self) -> EngineLimits:
        return self._engine.limits

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        self.running += 1
        try:
            async with aclosing(self._engine.generate(prompt, params)) as chunks:
                async for chunk in chunks:
                    yield chunk
                    await self.gate.wait()
        finally:
            self.running -= 1

    async def close(self) -> None:
        await self._engine.close()


class HeldEngine:
    """An engine whose answers wait until ``gate`` is set."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = asyncio.Event()

    @property
    def limits(self) -> EngineLimits:
        return self._engine.limits

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        await self.gate.wait()
        async with aclosing(self._engine.generate(prompt, params)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def close(self) -> None:
        await self._engine.close()


class EdgeEnd:
    """An edge's end of ``Vision.Connect``, without a mind of its own."""

    def __init__(
        self, served: Served, bundle: Bundle, channel: grpc.aio.Channel | None = None
    ) -> None:
        self._bundle = bundle
        stub: Any = served.vision if channel is None else VisionStub(channel)
        self.call: Any = stub.Connect()

    async def say(self, **kind: Any) -> None:
        await self.call.write(pb.EdgeMessage(**kind))

    async def hear(self) -> pb.CloudMessage:
        """The next message. Raises grpc.aio.AioRpcError when the call ended with an error."""
        message: Any = await asyncio.wait_for(self.call.read(), 10)
        assert isinstance(message, pb.CloudMessage), "the cloud has said all"
        return message

    async def hear_all(self) -> list[pb.CloudMessage]:
        """All that is still to come. Raises grpc.aio.AioRpcError as ``hear`` does."""
        heard: list[pb.CloudMessage] = []
        while True:
            message: Any = await asyncio.wait_for(self.call.read(), 10)
            if not isinstance(message, pb.CloudMessage):
                return heard
            heard.append(message)

    async def greet(self, **fields: Any) -> pb.CloudMessage:
        await self.say(hello=hello(self._bundle, **fields))
        return await self.hear()

    async def answer(self, question_id: int) -> tuple[str, pb.AnswerChunk]:
        """The text and the last chunk of one answer; other messages are skipped."""
        texts = []
        while True:
            message = await self.hear()
            if message.failure.question_id == question_id and message.HasField("failure"):
                raise AssertionError(f"question {question_id} failed: {message.failure}")
            if message.answer.question_id == question_id:
                texts.append(message.answer.text)
                if message.answer.last:
                    return "".join(texts), message.answer


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens in the server, at most ten seconds."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")


def hello(bundle: Bundle, **fields: Any) -> pb.Hello:
    usual = pb.Hello(
        protocol=PROTOCOL,
        device="kerb",
        boot=1,
        token_digest=bundle.token_digest,
        cameras=CAMERAS,
        epoch_unix_ms=EPOCH_UNIX_MS,
    )
    for name, value in fields.items():
        if name in ("cameras", "in_doubt"):
            getattr(usual, name)[:] = value
        else:
            setattr(usual, name, value)
    return usual


def packet(sequence: int = 1, camera_index: int = 0, kept: int = 16) -> tokens_pb2.FramePacket:
    frame = replace(usual_frame(kept=kept), sequence=sequence, camera=CAMERAS[camera_index])
    return pack(frame, "f16", epoch_unix_ms=EPOCH_UNIX_MS, camera_index=camera_index)


def damaged_packet(sequence: int = 1) -> tokens_pb2.FramePacket:
    damaged = packet(sequence)
    layer = bytearray(damaged.layers[0])
    layer[10] ^= 1
    damaged.layers[0] = bytes(layer)
    return damaged


def question(question_id: int, sequence: int = 1, text: str = "what color is it") -> pb.Question:
    return wire_question(question_id, sequence, text)
