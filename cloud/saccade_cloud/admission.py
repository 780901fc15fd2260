"""The way in for every call: who it is, a place for it, and its first message in time.

A call is refused by its headers where they suffice. The others wait among `Arrivals` for their
first message. From then on a call has a place of its kind, so that no kind takes another's:

- health: ``Check`` is answered at once and needs none; ``Watch`` has few, and ends after a while;
- applications: a share of theirs for each API key, or for each connection where there are no keys;
- devices: after their hello, `saccade_cloud.quotas`.

Messages are parsed here. gRPC would log a traceback for bytes that are no message.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from saccade.errors import RemoteError, SaccadeError
from saccade.tasks import next_or_none
from saccade_cloud.access import CALLER, Access, Kind
from saccade_cloud.arrivals import Arrivals
from saccade_cloud.call_errors import translated
from saccade_cloud.health import WATCH
from saccade_cloud.refusal_counts import REFUSALS
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.shared_places import SharedPlaces

Context = grpc.aio.ServicerContext[Any, Any]
Messages = AsyncGenerator[Any, None]

FLEET_WATCH = "/saccade.v1.Fleet/Watch"

if TYPE_CHECKING:  # the class is generic in the stubs only
    Handler = grpc.RpcMethodHandler[Any, Any] | None  # None: there is no such method


class Shares:
    """Places of every kind of call, of all addresses of one cloud."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self.applications = SharedPlaces(
            "calls at once", settings.application_calls, settings.calls_of_one_application
        )
        self.watches = SharedPlaces(
            "health watches", settings.health_watches, settings.health_watches
        )
        self.feeds = SharedPlaces(
            "watches", settings.application_calls, settings.watches_of_one_application
        )

    @contextmanager
    def place(self, kind: Kind, method: str, holder: str) -> Iterator[None]:
        """Raises ``LimitExceeded``."""
        feed = self.feeds.one(holder) if method == FLEET_WATCH else nullcontext()
        if kind is Kind.APPLICATION:
            with self.applications.one(holder), feed:
                yield
        elif method == WATCH:
            with self.watches.one(holder):
                yield
        else:
            yield


class Admission(grpc.aio.ServerInterceptor):
    """Of one address. ``shares`` are the cloud's, ``arrivals`` this address's own."""

    def __init__(
        self, access: Access, shares: Shares, arrivals: Arrivals, first_message_s: float
    ) -> None:
        self._access = access
        self._shares = shares
        self._arrivals = arrivals
        self._first_message_s = first_message_s

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        method = handler_call_details.method
        try:
            kind, name = self._access.check(method, dict(handler_call_details.invocation_metadata))
        except SaccadeError as error:
            return _refusal(error)
        handler = await continuation(handler_call_details)
        return None if handler is None else self._admitted(handler, kind, method, name)

    def _admitted(self, handler: Any, kind: Kind, method: str, name: str) -> Handler:  # noqa: ANN401 - of the stubs
        """``handler`` for any kind of call, as one that reads and writes streams of bytes."""
        parse = handler.request_deserializer

        async def serve(requests: AsyncIterator[bytes], context: Context) -> Messages:
            peer = context.peer()
            holder = name or peer
            CALLER.set(f"application {holder}")
            async with translated(context):
                with self._shares.place(kind, method, holder):
                    messages = aiter(requests)
                    # No name for the first message: it would be held as long as the stream lasts.
                    heard = _parsed(
                        await self._arrivals.first(
                            peer, next_or_none(messages), self._first_message_s
                        ),
                        *(messages, parse, method, peer),
                    )
                    async with aclosing(heard), aclosing(_replies(handler, heard, context)) as said:
                        async for reply in said:
                            yield reply

        return grpc.stream_stream_rpc_method_handler(
            serve, response_serializer=handler.response_serializer
        )


async def _parsed(
    first: bytes | None,
    rest: AsyncIterator[bytes],
    parse: Callable[[bytes], Any],
    method: str,
    peer: str,
) -> Messages:
    """Raises ``RemoteError`` for bytes that are no message. Holds none while it waits."""
    raw, first = first, None
    while raw is not None:
        try:
            message = parse(raw)
        except DecodeError:
            reason = f"{len(raw)} bytes that are no message of {method}"
            REFUSALS.note("malformed", peer, reason, logging.WARNING)
            raise RemoteError(f"received {reason}") from None
        raw = None
        yield message
        del message
        raw = await next_or_none(rest)


async def _replies(handler: Any, messages: Messages, context: Context) -> Messages:  # noqa: ANN401 - as above
    """What ``handler`` says, whichever of the four kinds it is."""
    if handler.request_streaming:
        serve = handler.stream_stream or handler.stream_unary
        request: object = messages
    else:
        serve = handler.unary_stream or handler.unary_unary
        request = await next_or_none(messages)
        if request is None:
            raise RemoteError("the call ended without its request")
    said = serve(request, context)
    if inspect.isawaitable(said):
        reply = await said
        if reply is not None:
            yield reply
        return
    async with aclosing(said) as replies:
        async for reply in replies:
            yield reply


def _refusal(error: SaccadeError) -> Handler:
    """Ends the call at once, whatever kind of call it is: nothing is read first."""

    async def refuse(_: object, context: Context) -> None:
        async with translated(context):
            raise error

    return grpc.stream_stream_rpc_method_handler(refuse)
