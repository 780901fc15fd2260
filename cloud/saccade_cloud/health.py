"""``grpc.health.v1.Health``: whether this cloud serves, for anyone who can connect.

``Check`` is what probes call. ``Watch`` alone would let anyone hold calls for ever: here it ends
after ``watch_s`` with UNAVAILABLE, and clients that watch begin again.

Not the library's asyncio servicer: once one watcher of a service leaves, it tells the others
nothing any more (grpcio-health-checking 1.81).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from saccade.errors import Unreachable
from saccade.tasks import within
from saccade_cloud.call_errors import translated

WATCH = "/grpc.health.v1.Health/Watch"

Reply = health_pb2.HealthCheckResponse
Context = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped
    """One for all addresses of a cloud, which serves ``services`` once it is ``started``."""

    def __init__(self, services: Sequence[str], watch_s: float) -> None:
        self._watch_s = watch_s
        self._statuses = dict.fromkeys(("", *services), Reply.NOT_SERVING)
        self._changed = asyncio.Event()

    def started(self) -> None:
        self._set(Reply.SERVING)

    def stopped(self) -> None:
        self._set(Reply.NOT_SERVING)

    async def Check(  # noqa: N802 - the stub's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        status = self._statuses.get(request.service)
        if status is None:  # the protocol's own answer (grpc/health/v1/health.proto)
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return Reply(status=status)

    async def Watch(  # noqa: N802 - the stub's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        ends_s = time.monotonic() + self._watch_s
        sent = None
        async with translated(context):
            while True:
                changed = self._changed
                status = self._statuses.get(request.service, Reply.SERVICE_UNKNOWN)
                if status != sent:
                    sent = status
                    yield Reply(status=status)
                try:
                    await within(max(ends_s - time.monotonic(), 0.0), changed.wait())
                except asyncio.TimeoutError:
                    raise Unreachable(f"a watch lasts {self._watch_s:g} s: begin again") from None

    def _set(self, status: Any) -> None:  # noqa: ANN401 - an enum of the generated code
        self._statuses = dict.fromkeys(self._statuses, status)
        self._changed.set()
        self._changed = asyncio.Event()
