"""One edge on ``Vision.Connect``: reads what it says, says what the cloud owes it.

One task reads, one task per open question answers, and ``replies`` writes. All that goes down
passes one bounded pipe, so a peer that does not read holds up itself and nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from saccade.errors import (
    LimitExceeded,
    PacketError,
    QuestionError,
    RemoteError,
    SaccadeError,
    Unreachable,
)
from saccade.session import Role, Session, State
from saccade.status import to_failure
from saccade.tasks import end, next_or_none, within
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.engines.base import TokenChunk
from saccade_cloud.frames import StoredFrame
from saccade_cloud.handshake import check_hello, welcome
from saccade_cloud.hub import Hub
from saccade_cloud.identity import Peer
from saccade_cloud.pipe import Pipe
from saccade_cloud.stages import stage_times
from saccade_cloud.tenancy import Tenancy

OUTBOX_MESSAGES = 64
NS_PER_MS = 1_000_000


class Conversation:
    """``messages``: what the edge says; ``peer``: who TLS says it is, None where it does not say.

    Iterate ``replies`` once; closing it ends everything.
    """

    def __init__(
        self, hub: Hub, messages: AsyncIterator[pb.EdgeMessage], peer: Peer | None = None
    ) -> None:
        self._hub = hub
        self._messages = messages
        self._peer = peer
        self._session = Session(Role.CLOUD)
        self._outbox: Pipe[pb.CloudMessage] = Pipe(OUTBOX_MESSAGES)
        self._answers: set[asyncio.Task[None]] = set()
        self._hello: pb.Hello | None = None  # once it was accepted
        self._tenancy = Tenancy(hub.quotas, self._outbox.end)

    async def replies(self) -> AsyncGenerator[pb.CloudMessage, None]:
        """All that the cloud says. Raises what ended the conversation, if it did not end well."""
        serving = self._start(self._serve())
        serving.add_done_callback(self._said_all)
        try:
            async for message in self._outbox:
                yield message
        finally:
            await end(serving, *self._answers)
            self._tenancy.end()
            if self._hello is not None:
                self._hub.frames.disconnect(self._hello.device, self._hello.cameras)

    async def _serve(self) -> None:
        try:
            hello = await self._greet()
            await self._converse(hello)
        except SaccadeError as error:
            if self._session.state is not State.SILENT:
                await self._say(_failure(error, fatal=True))
            raise

    async def _greet(self) -> pb.Hello:
        limit_s = self._hub.settings.hello_timeout_s
        try:
            message = await within(limit_s, next_or_none(self._messages))
        except asyncio.TimeoutError:
            raise RemoteError(f"the edge did not say hello within {limit_s:g} s") from None
        if message is None:
            raise RemoteError("the edge left without a hello")
        self._session.receive(message)
        hello = message.hello
        if self._peer is not None:
            self._peer.check(hello.device)
        check_hello(hello, self._hub.digest)
        self._hub.frames.connect(hello.device, hello.cameras)
        self._hello = hello
        self._tenancy.begin(hello, self._peer)
        resume_after = self._hub.frames.resume_after(hello.device, hello.boot)
        reply = welcome(self._hub.digest, self._hub.limits, resume_after)
        await self._say(pb.CloudMessage(welcome=reply))
        return hello

    async def _converse(self, hello: pb.Hello) -> None:
        """Until the edge has said all, or the server stops; then finish what is owed."""
        reading = asyncio.create_task(self._read(hello))
        stopping = asyncio.create_task(self._hub.stopping.wait())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
        finally:
            await end(reading, stopping)
        await asyncio.gather(*self._answers)
        if self._hub.stopping.is_set():
            raise Unreachable("the cloud is stopping")

    async def _read(self, hello: pb.Hello) -> None:
        async for message in self._messages:
            self._session.receive(message)
            await self._tenancy.admit(message)
            kind = message.WhichOneof("kind")
            if kind == "packet":
                await self._take(message.packet, hello)
            elif kind == "question":
                self._answers.add(self._start(self._answer(message.question, hello)))
            else:
                return

    async def _take(self, packet: tokens_pb2.FramePacket, hello: pb.Hello) -> None:
        """Store the packet and acknowledge it, or say why not; the stream goes on either way."""
        try:
            frame = await self._hub.unpack(packet, hello)
        except (PacketError, LimitExceeded) as error:
            await self._say(_failure(error, sequence=packet.sequence))
            return
        self._hub.frames.put(frame)
        ack = pb.Acknowledgement(
            sequence=packet.sequence,
            bytes=frame.packet_bytes,
            received_unix_ms=frame.received_ns // NS_PER_MS,
            stored=True,  # now, or when the same packet came the first time
        )
        await self._say(pb.CloudMessage(ack=ack))

    async def _answer(self, question: pb.Question, hello: pb.Hello) -> None:
        try:
            frame = self._frame(question.sequence, hello)
            answer = self._hub.posted_answer(frame, question.text, question.max_tokens)
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    await self._say(_answer_chunk(question, chunk))
        except Unreachable:
            raise
        except SaccadeError as error:
            await self._say(_failure(error, question_id=question.id))

    def _frame(self, sequence: int, hello: pb.Hello) -> StoredFrame:
        frame = self._hub.frames.get(hello.device, hello.boot, sequence)
        if frame is None:
            raise QuestionError(f"there is no frame {sequence} here: it never came, or is too old")
        return frame

    async def _say(self, message: pb.CloudMessage) -> None:
        """Send one message. Raises ``Unreachable`` when the edge leaves its messages unread."""
        self._session.send(message)
        if self._outbox.offer(message):
            return
        limit_s = self._hub.settings.stalled_timeout_s
        try:
            await within(limit_s, self._outbox.put(message))
        except asyncio.TimeoutError:
            raise Unreachable(f"the edge read nothing for {limit_s:g} s") from None

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task whose error ends the conversation."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        return task

    def _said_all(self, _: asyncio.Task[None]) -> None:
        self._outbox.end()
        self._tenancy.cut_off(self._hub.settings.stalled_timeout_s)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._tenancy.fail(error)


def _failure(
    error: SaccadeError, *, sequence: int = 0, question_id: int = 0, fatal: bool = False
) -> pb.CloudMessage:
    failure = to_failure(error, sequence=sequence, question_id=question_id, fatal=fatal)
    return pb.CloudMessage(failure=failure)


def _answer_chunk(question: pb.Question, chunk: TokenChunk) -> pb.CloudMessage:
    answer = pb.AnswerChunk(
        question_id=question.id,
        sequence=question.sequence,
        text=chunk.text,
        last=chunk.finish is not None,
        finish=chunk.finish or "",
        timing=stage_times(chunk.timing),
    )
    return pb.CloudMessage(answer=answer)
