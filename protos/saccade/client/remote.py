"""The synchronous client: pictures are encoded here, questions answered by a cloud over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

import grpc

from saccade.channel import channel_options, check_address
from saccade.client.base import Pictures, Vision
from saccade.client.call_messages import (
    MESSAGE_BYTES,
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
from saccade.client.streams import AnswerStream, Items
from saccade.errors import ConfigError, LocalError
from saccade.tls import ClientTls
from saccade.turns import Question
from saccade.types import Answer
from saccade.v1 import fleet_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetStub
from saccade.v1.vision_pb2_grpc import VisionStub

TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Link:
    """Where the cloud is and how to speak to it. ``timeout_s``: the deadline of every call,
    ``watch`` and ``history`` excepted. ``tls`` None: plain text, to this machine only unless
    ``insecure``.
    """

    cloud: str
    tls: ClientTls | None = None
    api_key: str | None = None
    insecure: bool = False
    timeout_s: float = TIMEOUT_S

    def options(self) -> list[tuple[str, int]]:
        """The channel's. Raises ``ConfigError`` for an address that may not be spoken to."""
        check_address(self.cloud, plain=self.tls is None, insecure=self.insecure)
        number = isinstance(self.timeout_s, (int, float)) and not isinstance(self.timeout_s, bool)
        if not (number and 0 < self.timeout_s <= MAX_TIMEOUT_S):
            raise ConfigError(
                f"timeout_s is {self.timeout_s!r}: give seconds above 0, up to {MAX_TIMEOUT_S:,.0f}"
            )
        return channel_options(self.cloud, MESSAGE_BYTES)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Of every call. Raises ``ConfigError`` for an API key that no cloud has made."""
        if self.api_key is None:
            return ()
        if not (self.api_key and self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigError("an API key is one line of printable ASCII characters")
        return (("authorization", f"Bearer {self.api_key}"),)


class RemoteVision(Vision):
    """Connects with the first call, and again after a connection was lost."""

    def __init__(self, link: Link, packet_encoder: PacketEncoder) -> None:
        self._link = link
        self._packet_encoder = packet_encoder
        self._metadata = link.metadata
        link.options()  # raises for what cannot be right, before the first call
        self._guard = Guard()
        self._opening = Lock()
        self._channel: grpc.Channel | None = None

    def stream(
        self, image: Pictures, question: Question | str, *, max_tokens: int = 0
    ) -> AnswerStream:
        return AnswerStream(self._infer(image, question, max_tokens))

    def cameras(self) -> tuple[Camera, ...]:
        with self._translating() as channel:
            request = pb.ListCamerasRequest()
            reply = FleetStub(channel).ListCameras(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            return tuple(Camera.of(camera) for camera in reply.cameras)

    def ask_camera(
        self,
        camera: str,
        question: Question | str,
        *,
        max_tokens: int = 0,
        max_age_s: float | None = None,
    ) -> Answer:
        request = camera_request(camera, question, max_tokens, max_age_s)
        assembler = AnswerAssembler(camera)
        with self._translating() as channel:
            for reply in FleetStub(channel).Ask(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            ):
                assembler.add(reply)
        return assembler.answer_of_camera()

    def watch(
        self, camera: str | None = None, *, for_s: float | None = None
    ) -> Iterator[WatchedAnswer]:
        request = watch_request(camera)
        with self._translating() as channel:
            call = FleetStub(channel).Watch(request, timeout=for_s, metadata=self._metadata)
            try:
                for reply in call:
                    yield WatchedAnswer.of(reply)
            except grpc.RpcError:
                if for_s is None or call.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
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
        with self._translating() as channel:
            call = FleetStub(channel).History(request, metadata=self._metadata)
            try:
                for reply in call:
                    yield WatchedAnswer.of(reply)
            finally:
                call.cancel()

    def close(self) -> None:
        self._guard.close()
        if self._guard.forked:
            return
        with self._opening:
            if self._channel is not None:
                self._channel.close()

    def _infer(self, image: Pictures, question: Question | str, max_tokens: int) -> Items:
        self._guard.use()
        asked = self._packet_encoder.encode_for_question(image, question, max_tokens)
        request = infer_request(self._packet_encoder.bundle, asked)
        assembler = AnswerAssembler(asked.about.camera, asked.timing)
        with self._translating() as channel:
            call = VisionStub(channel).Infer(
                request, timeout=self._link.timeout_s, metadata=self._metadata
            )
            try:
                for reply in call:
                    if text := assembler.add(reply):
                        yield text
            finally:
                call.cancel()
        yield assembler.answer_about(asked)

    @contextmanager
    def _translating(self) -> Iterator[grpc.Channel]:
        """The channel, for one call."""
        self._guard.use()
        try:
            yield self._connection()
        except (grpc.RpcError, ValueError) as error:  # gRPC's ValueError says: channel closed
            if self._guard.closed:
                raise LocalError(CLOSED_EARLY) from error
            if isinstance(error, grpc.RpcError):
                raise translated(error, self._link.cloud, self._link.tls) from error
            raise

    def _connection(self) -> grpc.Channel:
        """Opened with the first call: a fork before it harms nothing."""
        with self._opening:
            if self._channel is None:
                self._channel = _open(self._link)
            return self._channel


def _open(link: Link) -> grpc.Channel:
    if link.tls is not None:
        return grpc.secure_channel(link.cloud, link.tls.credentials(), link.options())
    return grpc.insecure_channel(link.cloud, link.options())
