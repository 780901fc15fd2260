"""Where errors leave the cloud: one translator around every call."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from saccade.errors import SaccadeError
from saccade.status import to_status

log = logging.getLogger(__name__)


@asynccontextmanager
async def translated(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """End the call with the status of an error raised inside.

    An error that is none of ours is a defect: its traceback goes to the log, not to the peer.
    """
    try:
        yield
    except SaccadeError as error:
        log.info("call from %s refused: %s: %s", context.peer(), error.code, error)
        await context.abort(*to_status(error))
    except Exception as error:
        log.exception("call from %s failed", context.peer())
        await context.abort(*to_status(error))
