"""Where errors leave the cloud: one translator around every call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from saccade.errors import SaccadeError
from saccade.wire_errors import to_status
from saccade_cloud.refusal_counts import REFUSALS

log = logging.getLogger(__name__)


@asynccontextmanager
async def translated(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """End the call with the status of an error raised inside.

    An error that is none of ours is a defect: its traceback goes to the log, not to the peer.
    """
    try:
        yield
    except grpc.aio.AbortError:  # the call has ended with its status already
        raise
    except SaccadeError as error:
        REFUSALS.note(error.code, context.peer(), error.message)
        await _abort(context, error)
    except Exception as error:
        log.exception("call from %s failed", context.peer())
        await _abort(context, error)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: Exception) -> None:
    """End the call. Raises ``AbortError``, as gRPC does, also where the peer has left already: then
    there is nobody to send a status to, and that is no defect of ours.
    """
    try:
        await context.abort(*to_status(error))
    except (grpc.aio.InternalError, grpc.aio.UsageError) as gone:
        log.debug("no status for %s: %s", context.peer(), gone)
        raise grpc.aio.AbortError("the call has ended already") from gone
