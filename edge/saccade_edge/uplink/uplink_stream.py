"""One stream of `Vision.Connect`, from hello to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import grpc

from saccade.errors import DigestMismatch, Unreachable, VersionMismatch
from saccade.session import PROTOCOL, Role, Session, State
from saccade.tasks import end, first_done, within
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.wire_errors import from_failure, from_rpc
from saccade_edge.uplink.outbox import Outbox

Call = grpc.aio.StreamStreamCall[pb.EdgeMessage, pb.CloudMessage]

WELCOME_TIMEOUT_S = 10.0
# After bye the cloud owes nothing that somebody waits for.
BYE_TIMEOUT_S = 2.0


class UplinkStream:
    """``handle`` gets every message of the cloud once the session's rules have passed it; ``sign``
    gives each packet its tag, right before it is sent.
    """

    def __init__(
        self,
        call: Call,
        outbox: Outbox,
        handle: Callable[[pb.CloudMessage], Awaitable[None]],
        sign: Callable[[tokens_pb2.FramePacket], None] = lambda packet: None,
    ) -> None:
        self._sign = sign
        self._call = call
        self._outbox = outbox
        self._handle = handle
        self._session = Session(Role.EDGE)
        self.sent_s: dict[int, float] = {}  # sequence -> monotonic time of its packet

    async def greet(self, hello: pb.Hello) -> pb.Welcome:
        """Say hello, hear welcome.

        Raises ``DigestMismatch``, ``VersionMismatch``, ``Unreachable``, or what the cloud says.
        """
        try:
            await self._send(pb.EdgeMessage(hello=hello))
            message = await within(WELCOME_TIMEOUT_S, self._receive_one())
        except asyncio.TimeoutError:
            raise Unreachable(f"no welcome within {WELCOME_TIMEOUT_S:g} s") from None
        welcome = message.welcome
        if welcome.protocol != PROTOCOL:
            raise VersionMismatch(
                f"the cloud speaks protocol {welcome.protocol}, the edge speaks {PROTOCOL}"
            )
        if welcome.token_digest != hello.token_digest:
            raise DigestMismatch(
                f"the cloud welcomes bundle {welcome.token_digest[:6].hex()}, "
                f"the edge has {hello.token_digest[:6].hex()}"
            )
        return welcome

    async def hold(self) -> None:
        """Send and receive until bye is sent and the cloud has ended the stream.

        Raises ``SaccadeError`` when it ends otherwise.
        """
        sending = asyncio.ensure_future(self._send_all())
        receiving = asyncio.ensure_future(self._receive_all())
        try:
            await first_done(sending, receiving)
            if not receiving.done():
                sending.result()  # an error of ours ends it all; bye leaves the cloud some time
                await asyncio.wait({receiving}, timeout=BYE_TIMEOUT_S)
            if receiving.done():
                receiving.result()
        finally:
            await end(sending, receiving)

    async def _send_all(self) -> None:
        """Say what the outbox has, and bye when it is closed."""
        session = self._session
        try:
            while message := await self._outbox.next(session.in_flight, session.questions):
                await self._send(message)
            await self._send(pb.EdgeMessage(bye=pb.Bye(reason="done")))
            await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            # The stream is broken. Why, the listener is told.
            await asyncio.Event().wait()

    async def _send(self, message: pb.EdgeMessage) -> None:
        self._session.send(message)
        if message.WhichOneof("kind") == "packet":
            self._sign(message.packet)
            self.sent_s[message.packet.sequence] = time.monotonic()
        await self._call.write(message)

    async def _receive_all(self) -> None:
        while True:
            try:
                message = await self._receive_one()
            except EOFError:
                if self._session.state is State.LEAVING:
                    return
                raise Unreachable("the cloud ended the stream") from None
            await self._handle(message)

    async def _receive_one(self) -> pb.CloudMessage:
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            raise from_rpc(error) from error
        if not isinstance(message, pb.CloudMessage):  # grpc.aio.EOF, with status OK
            raise EOFError
        self._session.receive(message)
        if message.WhichOneof("kind") == "failure" and message.failure.fatal:
            raise from_failure(message.failure)
        return message
