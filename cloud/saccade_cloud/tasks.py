"""Waiting with a limit, and ending tasks, so that no cancellation is ever lost.

``asyncio.wait_for`` before Python 3.12 swallows a cancellation that arrives together with the
result (python/cpython#81839): a conversation whose peer vanished would go on for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``. Raises ``asyncio.TimeoutError`` when it takes longer."""
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    finally:
        await cancel([task])
    if not done:
        raise asyncio.TimeoutError
    return task.result()


async def next_or_none(items: AsyncIterator[T]) -> T | None:
    """The next item; None at the end."""
    return await anext(items, None)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it has cleaned up; results stay to be read."""
    pending = [task for task in tasks if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
