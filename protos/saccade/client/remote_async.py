"""The asynchronous client: `saccade.client.remote` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import grpc

from saccade.client.base import AsyncVision, Pictures
from saccade.client.call_messages import (
    AnswerAssembler,
    camera_request,
    history_request,
    infer_request,
    translated,
    watch_request,
)
from saccade.client.fleet_types import Camera, WatchedAnswer
from saccade.client.guard import CLOSED_EARLY, Guard
from saccade.client.packet_encoder import PacketEncoder
from saccade.client.remote import Link
from saccade.client.streams import AsyncAnswerStream, AsyncItems
from saccade.errors import LocalError, SaccadeError
from saccade.turns import Question
from saccade.types import Answer
from saccade.v1 import fleet_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub


class AsyncRemoteVision(AsyncVision):
    """Create it inside the event loop. Pictures are encoded in a thread."""

    def __init__(self, link: Link, packet_encoder: PacketEncoder) -> None:
        self._link = link
        self._packet_encoder = packet_encoder
        self._metadata = link.metadata
        self._guard = Guard()
        self._channel = _open(link)
        self._vision = VisionStub(self._channel)
        self._fleet = FleetStub(self._channel)

    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AsyncAnswerStream:
        return AsyncAnswerStream(self._infer(image, question, max_tokens))

    async def cameras(self) -> tuple[Camera, ...]:
        async with self._translating():
            request = pb.ListCamerasRequest()
            reply = await self._fleet.ListCameras(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            return tuple(Camera.of(camera) for camera in reply.cameras)

    async def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        request = camera_request(camera, question, max_tokens, max_age_s)
        assembler = AnswerAssembler(camera)
        async with self._translating():
            async for reply in self._fleet.Ask(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            ):
                assembler.add(reply)
        return assembler.answer_of_camera()

    async def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> AsyncIterator[WatchedAnswer]:
        request = watch_request(camera)
        async with self._translating():
            call = self._fleet.Watch(request, timeout=for_s, metadata=self._metadata)
            try:
                async for reply in call:
                    yield WatchedAnswer.of(reply)
            except grpc.aio.AioRpcError as error:
                if for_s is None or error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
            finally:
                call.cancel()

    async def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> AsyncIterator[WatchedAnswer]:
        request = history_request(camera, since, until, limit)
        async with self._translating():
            call = self._fleet.History(request, metadata=self._metadata)
            try:
                async for reply in call:
                    yield WatchedAnswer.of(reply)
            finally:
                call.cancel()

    async def close(self) -> None:
        self._guard.close()
        if not self._guard.forked:
            await self._channel.close()

    async def _infer(
        self, image: Pictures, question: Question | str, max_tokens: int
    ) -> AsyncItems:
        self._guard.use()
        asked = await asyncio.to_thread(
            self._packet_encoder.encode_for_question, image, question, max_tokens
        )
        request = infer_request(self._packet_encoder.bundle, asked)
        assembler = AnswerAssembler(asked.about.camera, asked.timing)
        async with self._translating():
            call = self._vision.Infer(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            try:
                async for reply in call:
                    if text := assembler.add(reply):
                        yield text
            finally:
                call.cancel()
        yield assembler.answer_about(asked)

    @asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        self._guard.use()
        try:
            yield
        except grpc.RpcError as error:
            if self._guard.closed:
                raise LocalError(CLOSED_EARLY) from error
            raise await self._translated(error) from error
        except (grpc.aio.UsageError, asyncio.CancelledError) as error:
            # Closing the channel cancels its calls, not the task that waits for one.
            if self._guard.closed and not _cancelling():
                raise LocalError(CLOSED_EARLY) from error
            raise

    async def _translated(self, error: grpc.RpcError) -> SaccadeError:
        """In a thread: it may look at the cloud's certificate."""
        return await asyncio.to_thread(translated, error, self._link.cloud, self._link.tls)


def _cancelling() -> bool:
    """Whether somebody cancels this task; Python 3.10 does not say."""
    count: Callable[[], int] = getattr(asyncio.current_task(), "cancelling", int)
    return count() > 0


def _open(link: Link) -> grpc.aio.Channel:
    if link.tls is not None:
        return grpc.aio.secure_channel(link.cloud, link.tls.credentials(), link.options())
    return grpc.aio.insecure_channel(link.cloud, link.options())
