"""A gRPC server that a method's name cannot end.

grpcio 1.85 decodes the name of a method that it does not know in its one loop that takes calls: a
name that is no UTF-8, from anybody who can connect, ends that loop, and the server with it. Here
that loop sees only methods that are registered. Others are answered UNIMPLEMENTED, and nobody
reads their names.

This uses private parts of grpcio. A grpcio without them is used as it is: older ones decode the
name in a task of the call's own. tests/cloud/test_strangers.py sends such a name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc
from grpc._cython import cygrpc as _untyped
from grpc.aio import _server as _aio

from saccade_cloud.refusal_counts import REFUSALS

cygrpc = cast("Any", _untyped)
_PARTS = ("_schedule_rpc_coro", "_handle_rpc", "_MethodResolver")
MOST_AT_ONCE = 64  # answers of this kind under way; further calls wait in gRPC


def new_server(
    options: Sequence[tuple[str, int]],
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    most_calls: int,
) -> grpc.aio.Server:
    """As ``grpc.aio.server``."""
    guarded = hasattr(cygrpc.AioServer, "_make_request_call_future") and all(
        hasattr(cygrpc, part) for part in _PARTS
    )
    if not guarded:
        return grpc.aio.server(
            options=options, interceptors=interceptors, maximum_concurrent_rpcs=most_calls
        )
    return cast("grpc.aio.Server", _Guarded(options, interceptors, most_calls))


class _Guarded(_aio.Server):
    def __init__(
        self,
        options: Sequence[tuple[str, int]],
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        most_calls: int,
    ) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = _AioServer(self._loop, None, (), interceptors, tuple(options), most_calls)


class _AioServer(cygrpc.AioServer):  # type: ignore[misc,name-defined]  # not in the stubs
    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """The next call of a registered ``method``; None: of any other."""
        if method is not None:
            future: asyncio.Future[Any] = super()._make_request_call_future(method)
            return future
        return asyncio.ensure_future(self._answer_unregistered())

    async def _answer_unregistered(self) -> None:
        """Until the server stops, which ends the request for the next call with an error."""
        loop, nothing = asyncio.get_running_loop(), cygrpc._MethodResolver([], {})
        answering: set[asyncio.Task[None]] = set()
        while True:
            call = await self._request_call()
            REFUSALS.note("unknown method", "a peer", "it is not served")
            answer = cygrpc._handle_rpc("", nothing, (), call, loop, False)
            answering.add(loop.create_task(cygrpc._schedule_rpc_coro(answer, call, loop, "")))
            if len(answering) >= MOST_AT_ONCE:
                await asyncio.wait(answering, return_when=asyncio.FIRST_COMPLETED)
            answering = {task for task in answering if not task.done()}
