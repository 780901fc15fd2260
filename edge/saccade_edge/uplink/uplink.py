"""The uplink: keeps one conversation with the cloud going, across lost connections."""

from __future__ import annotations

import asyncio
import itertools
import math
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from saccade.bundle import Bundle
from saccade.errors import (
    DigestMismatch,
    EngineError,
    LimitExceeded,
    PacketError,
    RemoteError,
    SaccadeError,
    StorageError,
    Unreachable,
)
from saccade.limits import Limits, check
from saccade.packet_tag import TAG_BYTES, SignedSession, tag_of
from saccade.session import PROTOCOL
from saccade.tasks import end, first_done, within
from saccade.tls import ClientTls
from saccade.turns import Question, as_question
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade.views_header import ViewsHeader
from saccade_edge.spool import Asked, Entry, Identity, Spool, SpoolEvent, SpoolReborn
from saccade_edge.uplink.backoff import Backoff
from saccade_edge.uplink.cloud_messages import CloudMessageHandler
from saccade_edge.uplink.link_state import Bounds, LinkState, Outstanding
from saccade_edge.uplink.outbox import Outbox
from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket
from saccade_edge.uplink.uplink_channel import open_channel, wait_ready
from saccade_edge.uplink.uplink_events import (
    Connected,
    ConnectionLost,
    PacketDeferred,
    PacketSent,
    UplinkEvent,
)
from saccade_edge.uplink.uplink_stream import Call, UplinkStream

NS_PER_MS = 1_000_000
TEND_S = 0.1  # a tenth of the shortest time that matters here
# What a later try can mend: the line, the cloud's load, the cloud's own trouble, a bundle that it
# does not have yet. Everything else (another protocol, a name that it does not take) stays wrong
# however often we ask.
_MENDABLE = (
    *(Unreachable, RemoteError, LimitExceeded, EngineError, StorageError),
    DigestMismatch,  # the cloud may get the bundle, or another cloud may come
)


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """``patience_s``: give up after so long without a connection. ``packet_key``: signs packets.

    ``deadline_s``: how old a camera's frame goes as a live one, with a spool. ``live``: packets are
    a camera's: with a spool it never waits, its newest goes first. Both are also those of
    ``bounds``, whatever these say.
    """

    cloud: str
    device: str
    cameras: tuple[str, ...]
    insecure: bool = False
    tls: ClientTls | None = None
    packet_key: bytes | None = field(default=None, repr=False)
    live: bool = False
    deadline_s: float = 2.0
    bounds: Bounds = field(default_factory=Bounds)
    connect_timeout_s: float = 5.0
    patience_s: float = math.inf
    backoff_first_s: float = 0.5
    backoff_most_s: float = 8.0  # what a camera may miss of a link that is back


class Uplink:
    """``run`` talks to the cloud; meanwhile ``send`` hands over packets and ``finish`` ends it.

    ``emit`` hears every event, in the event loop. ``identity`` says what packets are relative to:
    the spool's where there is one, else a new one.
    """

    def __init__(
        self,
        settings: UplinkSettings,
        bundle: Bundle,
        emit: Callable[[UplinkEvent | SpoolEvent], None],
        spool: Spool | None = None,
    ) -> None:
        self._settings = settings
        self._digest = bundle.token_digest
        self._emit = emit
        self._spool = spool
        self._limits = Limits.of(bundle.manifest)
        self._outbox = Outbox(
            replace(settings.bounds, still_s=settings.deadline_s, live=settings.live),
            spool,
            self._on_sent,
            self._on_deferred,
        )
        self._ids = itertools.count(1)
        self._finishing = asyncio.Event()
        self._renewed = asyncio.Event()
        self._connected_s = time.monotonic()
        self._own = Identity(
            settings.device, secrets.randbits(64), time.time_ns() // NS_PER_MS, settings.cameras
        )
        if spool is not None:
            spool.listen(self._on_spool_event, self._outbox.stored_late)

    @property
    def identity(self) -> Identity:
        """Of the packets that are handed over: their boot may change, epoch and cameras do not."""
        return self._own if self._spool is None else self._spool.identity

    @property
    def settled(self) -> bool:
        """Whether the cloud has all that is in memory, and answered; the spool may have more."""
        return self._outbox.settled

    @property
    def outstanding(self) -> Outstanding:
        """What the cloud owes for what was sent."""
        return self._outbox.outstanding

    @property
    def state(self) -> LinkState:
        """What is under way, for whoever decides on the next frame."""
        return self._outbox.state()

    async def send(
        self,
        packet: tokens_pb2.FramePacket,
        questions: Sequence[Question | str],
        *,
        live: bool = True,
        held: bool = False,
        point: int | None = None,
    ) -> None:
        """Hand over a packet and questions about it. Without a spool, and for a recording, this
        waits for room; with one, until the packet is on disk. Not ``live``: it is not for now, but
        for when the link is idle; ``held``: it is for now, but only if the link, which stands
        still, is back within the deadline. ``point``: its operating point, for ``PacketSent``.

        Raises ``LimitExceeded`` or ``QuestionError`` for what the cloud would refuse.
        """
        if self._settings.packet_key is not None:
            packet.tag = bytes(TAG_BYTES)  # its size counts; what it is, is known when it is sent
        check("bytes in a packet", packet.ByteSize(), self._limits.message_bytes)
        wanted = list(map(as_question, questions))
        for question in wanted:
            question.check(chars=self._limits.question_chars)
        asked = [OpenQuestion(self._next_id(), packet.sequence, question) for question in wanted]
        queued = self._queued_packet(packet, asked, live)
        queued.held, queued.point = held, point
        await self._outbox.add(queued)

    async def room(self, questions: int) -> None:
        """Wait until ``send`` with so many questions would not wait."""
        await self._outbox.room(questions)

    def pace_backlog(self, bytes_per_s: float) -> None:
        """How much of the link the backlog may have, up to the settings' bound; 0: nothing."""
        self._outbox.pace.set(min(bytes_per_s, self._settings.bounds.backlog_bytes_per_s))

    async def finish(self, drain_s: float, *, retire: bool = False) -> bool:
        """Wait for what the cloud owes, at most ``drain_s``, then say bye; whether all came.

        ``retire``: what is on disk stays there, only what has been sent is waited for.
        """
        if retire:
            await self._outbox.retire()
        with suppress(asyncio.TimeoutError):
            await within(drain_s, self._outbox.drained())
        complete = self._outbox.empty
        self._finishing.set()
        await self._outbox.close()
        return complete

    def abandon(self) -> None:
        """Once ``run`` has ended: count what only memory had."""
        self._outbox.abandon()

    async def run(self) -> None:
        """Until ``finish``. Raises what no further try can mend, or what outlasts the patience."""
        backoff = Backoff(self._settings.backoff_first_s, self._settings.backoff_most_s)
        self._connected_s = time.monotonic()
        tending = asyncio.ensure_future(self._tend())
        try:
            while not self._finishing.is_set():
                await self._try(backoff)
        finally:
            await end(tending)

    async def _tend(self) -> None:
        while self._spool is not None:
            await self._outbox.tend()
            await asyncio.sleep(TEND_S)

    async def _try(self, backoff: Backoff) -> None:
        try:
            await self._connect_once(backoff)
        except _MENDABLE as error:
            await self._pause(error, backoff.next_s())

    async def _connect_once(self, backoff: Backoff) -> None:
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
            await self._run_stream(VisionStub(channel).Connect(), backoff)

    async def _run_stream(self, call: Call, backoff: Backoff) -> None:
        self._renewed.clear()
        handler = CloudMessageHandler(
            self._outbox, self._emit, self.identity.cameras, self.identity.epoch_unix_ms
        )
        stream = UplinkStream(call, self._outbox, handler.handle, self._sign)
        handler.sent_s = stream.sent_s
        welcome = await stream.greet(self._hello())
        self._check_known(welcome.resume_after)
        self._limits = self._limits.agreed(welcome.limits)
        limits = self._limits
        self._outbox.bound(limits.in_flight_packets, limits.open_questions, limits.message_bytes)
        resent = await self._outbox.rewind(welcome.stored)
        backoff.reset()
        backlog = self._spool.waiting if self._spool else 0
        self._emit(Connected(self._settings.cloud, resent, backlog))
        try:
            await self._hold(stream)
        finally:
            self._outbox.suspend()
            self._connected_s = time.monotonic()

    async def _hold(self, stream: UplinkStream) -> None:
        """Until the stream's end, or until another identity has to be sent."""
        holding = asyncio.ensure_future(stream.hold())
        renewing = asyncio.ensure_future(self._renewed.wait())
        try:
            await first_done(holding, renewing)
            if holding.done():
                holding.result()
        finally:
            await end(holding, renewing)

    def _hello(self) -> pb.Hello:
        identity = self.identity
        return pb.Hello(
            protocol=PROTOCOL,
            device=identity.device,
            boot=identity.boot,
            token_digest=self._digest,
            cameras=identity.cameras,
            epoch_unix_ms=identity.epoch_unix_ms,
            in_doubt=self._outbox.doubts,
            recording=not self._settings.live,
        )

    def _sign(self, packet: tokens_pb2.FramePacket) -> None:
        """As it is sent: a packet of the spool may go under another boot than it was made for."""
        key, identity = self._settings.packet_key, self.identity
        if key is None:
            packet.ClearField("tag")
            return
        session = SignedSession(
            identity.device, identity.boot, identity.epoch_unix_ms, identity.cameras, self._digest
        )
        packet.tag = tag_of(packet, session, key)

    def _check_known(self, resume_after: int) -> None:
        """Raises ``RemoteError`` where the cloud knows packets that we never sent: the spool was
        restored from an older copy, and what is new here would be taken for what is known there.
        The next try is under another identity.
        """
        if self._spool is None or resume_after <= self._spool.sent_until:
            return
        told = f"the cloud has packet {resume_after}, the spool has noted {self._spool.sent_until}"
        self._spool.reborn(told)
        self._outbox.renew()
        raise RemoteError(told)

    def _on_sent(self, queued: QueuedPacket) -> None:
        if queued.live:
            self._emit(PacketSent(queued.sequence, queued.size, True, queued.point))
            return
        captured_ms = self.identity.epoch_unix_ms + queued.packet.captured_ms
        size = _frame_size(queued.packet, self._limits)
        self._emit(
            PacketSent(
                queued.sequence, queued.size, False, size=size, captured_ns=captured_ms * NS_PER_MS
            )
        )

    def _on_deferred(self, queued: QueuedPacket, late: bool) -> None:
        self._emit(PacketDeferred(queued.sequence, queued.on_disk, late))

    def _on_spool_event(self, event: SpoolEvent) -> None:
        if isinstance(event, SpoolReborn):
            self._outbox.renew()
            self._renewed.set()
        self._emit(event)

    def _next_id(self) -> int:
        return next(self._ids) if self._spool is None else self._spool.next_question()

    def _queued_packet(
        self,
        packet: tokens_pb2.FramePacket,
        asked: Sequence[OpenQuestion],
        live: bool,
    ) -> QueuedPacket:
        questions = {question.id: question for question in asked}
        if self._spool is None:
            return QueuedPacket(packet, questions)
        deadline_s = self._settings.deadline_s if live else 0.0
        captured_ms = self.identity.epoch_unix_ms + packet.captured_ms
        entry = Entry(
            sequence=packet.sequence,
            camera=packet.camera,
            captured_unix_ms=captured_ms,
            deadline_unix_ms=captured_ms + int(deadline_s * 1e3),
            packet=packet.SerializeToString(),
            questions=tuple(Asked(question.id, question.question) for question in asked),
        )
        return QueuedPacket(packet, questions, self._deadline(captured_ms, deadline_s), entry)

    def _deadline(self, captured_ms: int, deadline_s: float) -> float:
        """Monotonic. A recording waits for the cloud: it is never late."""
        if not self._settings.live and deadline_s:
            return math.inf
        # A clock that was set meanwhile must make nothing immortal.
        age_s = min(max(time.time() - captured_ms / 1e3, 0.0), deadline_s)
        return time.monotonic() + deadline_s - age_s

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
        self._emit(ConnectionLost(error, pause_s))
        try:
            await within(pause_s, self._finishing.wait())
        except asyncio.TimeoutError:
            return


def _frame_size(packet: tokens_pb2.FramePacket, limits: Limits) -> tuple[int, int]:
    """(height, width), zeros where the packet does not say it: the cloud will refuse it."""
    try:
        return ViewsHeader.from_bytes(packet.views, limits).size
    except (PacketError, LimitExceeded):
        return 0, 0
