"""Ends for an emulated link: servers on a loopback port, and clients that measure."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A TCP server; its address."""
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            with suppress(ConnectionError):
                await handler(reader, writer)
        finally:
            running.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class Sink:
    """Takes what comes. ``arrivals``: monotonic second and bytes so far, after each read."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[float, int]] = []
        self.received = bytearray()
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.received += data
                self.arrivals.append((time.monotonic(), len(self.received)))
        finally:
            self.ended.set()


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def round_trip(address: str, data: bytes = b"x") -> float:
    """Seconds until an echo of ``data`` is complete, on a connection of its own."""
    reader, writer = await connect(address)
    began = time.monotonic()
    writer.write(data)
    assert await asyncio.wait_for(reader.readexactly(len(data)), 30) == data
    took = time.monotonic() - began
    writer.close()
    await writer.wait_closed()
    return took


def descriptors() -> int:
    """How many this process has open, without what is only waiting to be collected."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
