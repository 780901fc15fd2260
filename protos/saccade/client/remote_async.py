"""The asynchronous client: `saccade.client.remote` for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime

import grpc

from saccade.client.base import AsyncVision, Picture
from saccade.client.calls import Hearing, history_request, infer_request, translated
from saccade.client.eye import Eye
from saccade.client.nouns import Camera, WatchedAnswer
from saccade.client.remote import Link
from saccade.client.streams import AsyncAnswerStream, AsyncItems
from saccade.nouns import Answer
from saccade.v1 import fleet_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub


class AsyncRemoteVision(AsyncVision):
    """Create it inside the event loop. Pictures are encoded in a thread."""

    def __init__(self, link: Link, eye: Eye) -> None:
        self._link = link
        self._eye = eye
        self._channel = _open(link)
        self._vision = VisionStub(self._channel)
        self._fleet = FleetStub(self._channel)

    def stream(self, image: Picture, question: str, *, max_tokens: int = 0) -> AsyncAnswerStream:
        return AsyncAnswerStream(self._infer(image, question, max_tokens))

    async def cameras(self) -> tuple[Camera, ...]:
        with self._translating():
            request = pb.ListCamerasRequest()
            reply = await self._fleet.ListCameras(request, timeout=self._link.timeout_s)
            return tuple(Camera.of(camera) for camera in reply.cameras)

    async def ask_camera(self, camera: str, question: str, *, max_tokens: int = 0) -> Answer:
        request = pb.AskRequest(camera=camera, question=question, max_tokens=max_tokens)
        hearing = Hearing(camera)
        with self._translating():
            async for reply in self._fleet.Ask(request, timeout=self._link.timeout_s):
                hearing.hear(reply)
        return hearing.answer_of_camera()

    async def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> AsyncIterator[WatchedAnswer]:
        call = self._fleet.Watch(pb.WatchRequest(camera=camera or ""), timeout=for_s)
        try:
            async for reply in call:
                yield WatchedAnswer.of(reply)
        except grpc.aio.AioRpcError as error:
            if not (for_s is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                raise translated(error, self._link.cloud) from error
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
        with self._translating():
            call = self._fleet.History(request)
            try:
                async for reply in call:
                    yield WatchedAnswer.of(reply)
            finally:
                call.cancel()

    async def close(self) -> None:
        await self._channel.close()

    async def _infer(self, image: Picture, question: str, max_tokens: int) -> AsyncItems:
        seen = await asyncio.to_thread(self._eye.see, image)
        request = infer_request(self._eye.bundle, seen, question, max_tokens)
        hearing = Hearing(seen.tokens.camera, seen.timing)
        with self._translating():
            call = self._vision.Infer(request, timeout=self._link.timeout_s)
            try:
                async for reply in call:
                    if text := hearing.hear(reply):
                        yield text
            finally:
                call.cancel()
        yield hearing.answer_about(seen)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translated(error, self._link.cloud) from error


def _open(link: Link) -> grpc.aio.Channel:
    if link.credentials is not None:
        return grpc.aio.secure_channel(link.cloud, link.credentials, link.options())
    return grpc.aio.insecure_channel(link.cloud, link.options())
