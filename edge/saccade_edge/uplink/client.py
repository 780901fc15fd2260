"""The uplink: keeps one conversation with the cloud going, across lost connections."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from saccade.bundle import Bundle
from saccade.errors import (
    EngineError,
    LimitExceeded,
    QuestionError,
    RemoteError,
    SaccadeError,
    StorageError,
    Unreachable,
)
from saccade.limits import Limits, check
from saccade.session import PROTOCOL
from saccade.tasks import end, first_done, within
from saccade.tls import ClientTls
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_edge.uplink.backoff import Backoff
from saccade_edge.uplink.channel import open_channel, wait_ready
from saccade_edge.uplink.conversation import Conversation
from saccade_edge.uplink.events import Connected, Lost, UplinkEvent
from saccade_edge.uplink.hearing import Hearing
from saccade_edge.uplink.outbox import Outbox

# What a later try can mend: the line, the cloud's load, the cloud's own trouble. Everything else
# (another bundle, another protocol, a name it does not take) stays wrong however often we ask.
_MENDABLE = (Unreachable, RemoteError, LimitExceeded, EngineError, StorageError)


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """``patience_s``: give up after so long without a connection.

    ``packets_in_flight`` bounds what is unacknowledged, and so how old a frame can become here.
    """

    cloud: str
    device: str
    cameras: tuple[str, ...]
    insecure: bool = False
    tls: ClientTls | None = None
    packets_in_flight: int = 8
    open_questions: int = 32
    connect_timeout_s: float = 5.0
    patience_s: float = math.inf
    backoff_first_s: float = 0.5
    backoff_most_s: float = 30.0


class Uplink:
    """``run`` talks to the cloud; meanwhile ``send`` hands over packets and ``finish`` ends it.

    ``tell`` hears every event, in the event loop. ``epoch_unix_ms`` counts the session's time.
    """

    def __init__(
        self, settings: UplinkSettings, bundle: Bundle, tell: Callable[[UplinkEvent], None]
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._limits = Limits.of(bundle.manifest)
        self._outbox = Outbox(settings.packets_in_flight, settings.open_questions)
        self._ids = itertools.count(1)
        self._finishing = asyncio.Event()
        self._connected_s = time.monotonic()
        self.epoch_unix_ms = time.time_ns() // 1_000_000
        self._hello = pb.Hello(
            protocol=PROTOCOL,
            device=settings.device,
            boot=secrets.randbits(64),
            bundle_digest=bundle.digest,
            cameras=settings.cameras,
            epoch_unix_ms=self.epoch_unix_ms,
        )

    async def send(self, packet: tokens_pb2.FramePacket, questions: Sequence[str]) -> None:
        """Queue a packet and questions about it, waiting for room.

        Raises ``LimitExceeded`` or ``QuestionError`` for what the cloud would refuse.
        """
        check("bytes in a packet", packet.ByteSize(), self._limits.message_bytes)
        for text in questions:
            self._check_question(text)
        asked = [
            pb.Question(id=next(self._ids), sequence=packet.sequence, text=t) for t in questions
        ]
        await self._outbox.add(packet, asked)

    async def room(self, questions: int) -> None:
        """Wait until ``send`` with so many questions would not wait."""
        await self._outbox.room(questions)

    async def finish(self, drain_s: float) -> bool:
        """Wait for what the cloud owes, at most ``drain_s``, then say bye; whether all came."""
        try:
            await within(drain_s, self._outbox.drained())
            complete = True
        except asyncio.TimeoutError:
            complete = False
        self._finishing.set()
        await self._outbox.close()
        return complete

    async def run(self) -> None:
        """Until ``finish``. Raises what no further try can mend, or what outlasts the patience."""
        backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_most_s)
        self._connected_s = time.monotonic()
        while not self._finishing.is_set():
            await self._try(backoff)

    async def _try(self, backoff: Backoff) -> None:
        try:
            await self._converse(backoff)
        except _MENDABLE as error:
            await self._pause(error, backoff.next_s())

    async def _converse(self, backoff: Backoff) -> None:
        """One connection, from its first to its last byte."""
        settings = self._settings
        channel = open_channel(
            settings.cloud,
            insecure=settings.insecure,
            tls=settings.tls,
            message_bytes=self._limits.message_bytes,
        )
        async with channel:
            timeout_s = min(settings.connect_timeout_s, settings.patience_s)
            ready = wait_ready(channel, settings.cloud, timeout_s, settings.tls)
            if not await self._ready(ready):
                return
            call = VisionStub(channel).Connect()
            hearing = Hearing(self._outbox, self._tell)
            talk = Conversation(call, self._outbox, hearing.hear)
            hearing.said_s = talk.said_s
            welcome = await talk.greet(self._hello)
            self._limits = self._limits.agreed(welcome.limits)
            self._outbox.bound(self._limits.in_flight_packets, self._limits.open_questions)
            resent = await self._outbox.rewind(welcome.resume_after)
            backoff.reset()
            self._tell(Connected(settings.cloud, resent))
            try:
                await talk.hold()
            finally:
                self._outbox.suspend()
                self._connected_s = time.monotonic()

    async def _ready(self, connecting: Coroutine[Any, Any, None]) -> bool:
        """Whether a connection came before the end: nobody waits for a cloud to say bye to it."""
        ready = asyncio.ensure_future(connecting)
        finishing = asyncio.ensure_future(self._finishing.wait())
        try:
            await first_done(ready, finishing)
            if ready.done():
                ready.result()
            return ready.done()
        finally:
            await end(ready, finishing)

    async def _pause(self, error: SaccadeError, pause_s: float) -> None:
        waited_s = time.monotonic() - self._connected_s
        if waited_s + pause_s > self._settings.patience_s:
            raise error
        self._tell(Lost(error, pause_s))
        try:
            await within(pause_s, self._finishing.wait())
        except asyncio.TimeoutError:
            return

    def _check_question(self, text: str) -> None:
        if not text.strip():
            raise QuestionError("a question is empty")
        if len(text) > self._limits.question_chars:
            raise QuestionError(
                f"a question has {len(text)} characters, the limit is {self._limits.question_chars}"
            )
