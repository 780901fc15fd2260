"""The synchronous client: pictures are encoded here, questions answered by a cloud over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import grpc

from saccade.channel import channel_options, check_address
from saccade.client.base import Picture, Vision
from saccade.client.calls import (
    MESSAGE_BYTES,
    Hearing,
    history_request,
    infer_request,
    translated,
)
from saccade.client.eye import Eye
from saccade.client.nouns import Camera, WatchedAnswer
from saccade.client.streams import AnswerStream, Items
from saccade.errors import ConfigError
from saccade.nouns import Answer
from saccade.tls import ClientTls
from saccade.v1 import fleet_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Link:
    """Where the cloud is and how to speak to it. ``timeout_s``: the deadline of every call,
    ``watch`` and ``history`` excepted. ``tls`` None: plain text, to this machine only unless
    ``insecure``.
    """

    cloud: str
    tls: ClientTls | None = None
    token: str | None = None
    insecure: bool = False
    timeout_s: float = TIMEOUT_S

    def options(self) -> list[tuple[str, int]]:
        """The channel's. Raises ``ConfigError`` for an address that may not be spoken to."""
        check_address(self.cloud, plain=self.tls is None, insecure=self.insecure)
        return channel_options(self.cloud, MESSAGE_BYTES)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of every call. Raises ``ConfigError`` for a token that no cloud has made."""
        if self.token is None:
            return ()
        if not (self.token and self.token.isascii() and self.token.isprintable()):
            raise ConfigError("a token is one line of printable ASCII characters")
        return (("authorization", f"Bearer {self.token}"),)


class RemoteVision(Vision):
    """Connects with the first call, and again after a connection was lost."""

    def __init__(self, link: Link, eye: Eye) -> None:
        self._link = link
        self._eye = eye
        self._metadata = link.metadata
        self._channel = _open(link)
        self._vision = VisionStub(self._channel)
        self._fleet = FleetStub(self._channel)

    def stream(self, image: Picture, question: str, *, max_tokens: int = 0) -> AnswerStream:
        return AnswerStream(self._infer(image, question, max_tokens))

    def cameras(self) -> tuple[Camera, ...]:
        with self._translating():
            request = pb.ListCamerasRequest()
            reply = self._fleet.ListCameras(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            return tuple(Camera.of(camera) for camera in reply.cameras)

    def ask_camera(self, camera: str, question: str, *, max_tokens: int = 0) -> Answer:
        request = pb.AskRequest(camera=camera, question=question, max_tokens=max_tokens)
        hearing = Hearing(camera)
        with self._translating():
            for reply in self._fleet.Ask(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            ):
                hearing.hear(reply)
        return hearing.answer_of_camera()

    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> Iterator[WatchedAnswer]:
        request = pb.WatchRequest(camera=camera or "")
        call = self._fleet.Watch(request, timeout=for_s, metadata=self._metadata)
        try:
            for reply in call:
                yield WatchedAnswer.of(reply)
        except grpc.RpcError as error:
            if not (for_s is not None and call.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
                raise translated(error, self._link.cloud, self._link.tls) from error
        finally:
            call.cancel()

    def history(
        self,
        camera: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 0,
    ) -> Iterator[WatchedAnswer]:
        request = history_request(camera, since, until, limit)
        with self._translating():
            call = self._fleet.History(request, metadata=self._metadata)
            try:
                for reply in call:
                    yield WatchedAnswer.of(reply)
            finally:
                call.cancel()

    def close(self) -> None:
        self._channel.close()

    def _infer(self, image: Picture, question: str, max_tokens: int) -> Items:
        seen = self._eye.see(image)
        request = infer_request(self._eye.bundle, seen, question, max_tokens)
        hearing = Hearing(seen.tokens.camera, seen.timing)
        with self._translating():
            call = self._vision.Infer(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            try:
                for reply in call:
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
            raise translated(error, self._link.cloud, self._link.tls) from error


def _open(link: Link) -> grpc.Channel:
    if link.tls is not None:
        return grpc.secure_channel(link.cloud, link.tls.credentials(), link.options())
    return grpc.insecure_channel(link.cloud, link.options())
