"""Waiting for several tasks at once."""

from __future__ import annotations

import asyncio
from typing import Any


async def first_done(*tasks: asyncio.Future[Any]) -> None:
    """Until one of them is done, well or not."""
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait until it has cleaned up."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
