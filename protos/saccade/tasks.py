"""Waiting with a limit, for several at once, and ending tasks, so that no cancellation is lost.

``asyncio.wait_for`` before Python 3.12 swallows a cancellation that arrives together with the
result (python/cpython#81839): a conversation whose peer vanished would go on for ever.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


def ending_signals() -> tuple[signal.Signals, ...]:
    """Signals that end a process in good order.

    A terminal that closes sends SIGHUP. Under ``nohup`` it is ignored, and stays so.
    """
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else []))


async def within(limit_s: float, work: Awaitable[T]) -> T:
    """The result of ``work``. Raises ``asyncio.TimeoutError`` when it takes longer."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    finally:
        await end(task)
    if not done:
        raise asyncio.TimeoutError
    return task.result()


async def until(ends_s: float, work: Awaitable[T]) -> T:
    """The result of ``work``, in this task: for what is waited for often. Raises
    ``asyncio.TimeoutError`` when it is not there at ``ends_s``, of ``time.monotonic``.

    Python 3.11 has a timeout that loses no cancellation; before it, `within` starts a task.
    """
    if sys.version_info < (3, 11):
        return await within(ends_s - time.monotonic(), work)
    async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends_s - time.monotonic()):
        return await work


async def first_done(*tasks: asyncio.Future[Any]) -> None:
    """Until one of them is done, well or not."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def next_or_none(items: AsyncIterator[T]) -> T | None:
    """The next item; None at the end."""
    return await anext(items, None)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait until it has cleaned up; results stay to be read."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
