"""One edge on ``Vision.Connect``: reads what it sends, sends what the cloud owes it.

One task reads, one for each packet and open question acknowledges or answers, and ``replies``
writes. All that goes down passes one bounded queue, so a peer that does not read holds up itself
and nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from saccade.answer_probability import mean_and_least
from saccade.errors import (
    LimitExceeded,
    PacketError,
    RemoteError,
    SaccadeError,
    StorageError,
    TagError,
    Unreachable,
)
from saccade.packet import known_copy
from saccade.session import Role, Session, State
from saccade.tasks import end, next_or_none, within
from saccade.turns import Question
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import to_failure
from saccade_cloud.answer_service import Asked
from saccade_cloud.closable_queue import ClosableQueue
from saccade_cloud.cloud_context import CloudContext, ServedBundle
from saccade_cloud.cloud_load import Load
from saccade_cloud.engines.base import TokenChunk
from saccade_cloud.frame_rate_limit import FrameRateLimit
from saccade_cloud.frame_store import StoredFrame
from saccade_cloud.handshake import check_hello, welcome
from saccade_cloud.packet_keys import signed_session
from saccade_cloud.peer_identity import Peer
from saccade_cloud.refusal_counts import REFUSALS
from saccade_cloud.stages import stage_times
from saccade_cloud.stored_frames import frame_of, known, record_of
from saccade_cloud.stream_limits import StreamLimits

OUTBOX_MESSAGES = 64
NS_PER_MS = 1_000_000
BOUND_EVERY_S = 1.0  # at most one budget in it


class EdgeStream:
    """``messages``: what the edge says; ``peer``: who TLS says it is, None where it does not say.

    Iterate ``replies`` once; closing it ends everything.
    """

    def __init__(
        self, cloud: CloudContext, messages: AsyncIterator[pb.EdgeMessage], peer: Peer | None = None
    ) -> None:
        self._cloud = cloud
        self._messages = messages
        self._peer = peer
        self._session = Session(Role.CLOUD)
        self._outbox: ClosableQueue[pb.CloudMessage] = ClosableQueue(OUTBOX_MESSAGES)
        self._pending: set[asyncio.Task[None]] = set()  # acknowledgements and answers
        self._accepted: _Accepted | None = None
        self._stream_limits = StreamLimits(cloud.quotas, self._outbox.end)
        self._frame_rate_limit = FrameRateLimit()

    async def replies(self) -> AsyncGenerator[pb.CloudMessage, None]:
        """All that the cloud says. Raises what ended the conversation, if it did not end well."""
        serving = self._start(self._serve())
        serving.add_done_callback(self._sent_all)
        try:
            async for message in self._outbox:
                yield message
        finally:
            await end(serving, *self._pending)
            self._stream_limits.end()
            if self._accepted is not None:
                hello = self._accepted.hello
                self._accepted.bundle.answers.load.ended(self)
                self._cloud.frames.disconnect(hello.device, hello.cameras)

    async def _serve(self) -> None:
        try:
            await self._converse(await self._greet())
        except SaccadeError as error:
            if self._session.state is not State.SILENT:
                await self._send(_failure(error, fatal=True))
            raise

    async def _greet(self) -> _Accepted:
        message = await next_or_none(self._messages)
        if message is None:
            raise RemoteError("the edge left without a hello")
        self._session.receive(message)
        hello = known_copy(message.hello)
        if self._peer is not None:
            self._peer.check(hello.device)
        bundle = check_hello(hello, self._cloud.bundles)
        self._stream_limits.begin(hello, self._peer)
        self._cloud.frames.connect(hello.device, hello.cameras)
        self._accepted = _Accepted(hello, bundle)
        resume_after, stored = await known(self._cloud.store, hello)
        # It is held for as long as the stream lasts, and any frame of it is in memory.
        hello.ClearField("in_doubt")
        self._accepted = accepted = _Accepted(known_copy(hello), bundle)
        reply = welcome(bundle.token_digest, bundle.limits, resume_after, stored)
        await self._send(pb.CloudMessage(welcome=reply))
        return accepted

    async def _converse(self, accepted: _Accepted) -> None:
        """Until the edge has said all, or the server stops; then finish what is owed."""
        reading = asyncio.create_task(self._read(accepted))
        stopping = asyncio.create_task(self._cloud.stopping.wait())
        bounding = self._start(self._bound(accepted.bundle.answers.load))
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            await end(reading, stopping, bounding)
            self._pending.discard(bounding)
        await asyncio.gather(*self._pending)
        if self._cloud.stopping.is_set():
            raise Unreachable("the cloud is stopping")

    async def _read(self, accepted: _Accepted) -> None:
        async for message in self._messages:
            self._session.receive(message)
            await self._stream_limits.admit(message)
            kind = message.WhichOneof("kind")
            if kind == "packet":
                await self._take(message.packet, accepted)
            elif kind == "question":
                question = known_copy(message.question)
                self._pending.add(self._start(self._answer(question, accepted)))
            else:
                return

    async def _take(self, packet: tokens_pb2.FramePacket, accepted: _Accepted) -> None:
        """Take the packet in, or say why not; the stream goes on either way.

        The frame can be asked about at once; its acknowledgement comes when it is stored. While
        the store has no room nothing more is read, and gRPC slows the edge.
        """
        began_s = time.perf_counter()
        try:
            self._cloud.keys.check(packet, signed_session(accepted.hello))
            frame, decoded = await accepted.bundle.reader.receive(
                packet, accepted.hello, accepted.client
            )
        except (PacketError, LimitExceeded) as error:
            if isinstance(error, TagError):
                place = f"device {accepted.hello.device}"
                REFUSALS.note(error.code, place, error.message, logging.WARNING)
            await self._send(_failure(error, sequence=packet.sequence))
            await self._stream_limits.decoded(time.perf_counter() - began_s)
            return
        if self._cloud.frames.put(frame):
            accepted.bundle.reader.keep(frame, decoded)
        await self._store(packet.sequence, frame, accepted.hello)
        await self._stream_limits.decoded(frame.timing.stages["decode"] / 1e3)

    async def _store(self, sequence: int, frame: StoredFrame, hello: pb.Hello) -> None:
        await self._stream_limits.begin_storing()
        try:
            storing = await self._cloud.store.put(record_of(frame, hello))
        except BaseException as error:
            self._stream_limits.end_storing()
            if not isinstance(error, (PacketError, LimitExceeded, StorageError)):
                raise
            await self._send(_failure(error, sequence=sequence))
            return
        # Also where the acknowledgement is cancelled before it begins.
        storing.add_done_callback(lambda _: self._stream_limits.end_storing())
        self._pending.add(self._start(self._acknowledge(frame, storing)))

    async def _acknowledge(self, frame: StoredFrame, storing: asyncio.Future[bool]) -> None:
        try:
            stored = await storing
        except (PacketError, StorageError) as error:
            await self._send(_failure(error, sequence=frame.tokens.sequence))
            return
        ack = pb.Acknowledgement(
            sequence=frame.tokens.sequence,
            bytes=frame.packet_bytes,
            received_unix_ms=frame.received_ns // NS_PER_MS,
            stored=stored,
        )
        await self._send(pb.CloudMessage(ack=ack))

    async def _answer(self, asked: pb.Question, accepted: _Accepted) -> None:
        try:
            question = Question.from_wire(asked.turns, asked.generation)
            accepted.bundle.answers.check(question)  # before it waits, and takes memory
            with self._stream_limits.question():
                self._frame_rate_limit.check(max(question.frames), time.monotonic())
                await self._answer_in_turn(asked.id, question, accepted)
        except Unreachable:
            raise
        except SaccadeError as error:
            await self._send(_failure(error, question_id=asked.id))

    async def _answer_in_turn(self, number: int, question: Question, accepted: _Accepted) -> None:
        """``number``: the edge's own of its question."""
        hello, answers, sequence = accepted.hello, accepted.bundle.answers, max(question.frames)
        counted = answers.load.asks(
            self, sequence, time.monotonic(), device=hello.device, recording=hello.recording
        )
        try:
            frames = {
                each: await frame_of(self._cloud, hello.device, hello.boot, each)
                for each in question.frames
            }
            asked = Asked(question, frames, accepted.client, counted)
            async with aclosing(answers.answer(asked)) as chunks:
                async for chunk in chunks:
                    await self._send(_answer_chunk(number, sequence, chunk))
        finally:
            answers.load.leaves(counted)

    async def _bound(self, load: Load) -> None:
        """Tell the edge what the cloud's load allows it, whenever that changes."""
        sent = 0
        while self._cloud.settings.answer_wait_s:
            await asyncio.sleep(BOUND_EVERY_S)
            now_s = time.monotonic()
            frames, reason = load.bound(self, now_s)
            if frames != sent:
                sent = frames
                self._frame_rate_limit.set(frames, now_s)
                budget = pb.Budget(frames_per_minute=frames, reason=reason)
                await self._send(pb.CloudMessage(budget=budget))

    async def _send(self, message: pb.CloudMessage) -> None:
        """Send one message. Raises ``Unreachable`` when the edge leaves its messages unread."""
        self._session.send(message)
        if self._outbox.offer(message):
            return
        limit_s = self._cloud.settings.stalled_timeout_s
        try:
            await within(limit_s, self._outbox.put(message))
        except asyncio.TimeoutError:
            raise Unreachable(f"the edge read nothing for {limit_s:g} s") from None

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose error ends the conversation."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        return task

    def _sent_all(self, _: asyncio.Task[None]) -> None:
        self._outbox.end()
        self._stream_limits.cut_off(self._cloud.settings.stalled_timeout_s)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._pending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stream_limits.fail(error)


@dataclass(frozen=True, slots=True, eq=False)
class _Accepted:
    """A hello that was taken, and the bundle that it names."""

    hello: pb.Hello
    bundle: ServedBundle

    @property
    def client(self) -> str:
        """Who has a share of the engine: the device, with all of its streams."""
        return f"device {self.hello.device}"


def _failure(
    error: SaccadeError, *, sequence: int = 0, question_id: int = 0, fatal: bool = False
) -> pb.CloudMessage:
    failure = to_failure(error, sequence=sequence, question_id=question_id, fatal=fatal)
    return pb.CloudMessage(failure=failure)


def _answer_chunk(number: int, sequence: int, chunk: TokenChunk) -> pb.CloudMessage:
    probability, least = mean_and_least(chunk.probability)
    answer = pb.AnswerChunk(
        question_id=number,
        sequence=sequence,
        text=chunk.text,
        last=chunk.finish is not None,
        finish=chunk.finish or "",
        timing=stage_times(chunk.timing),
        probability=probability,
        least_probability=least,
    )
    return pb.CloudMessage(answer=answer)
