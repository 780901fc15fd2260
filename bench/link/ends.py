"""The ends of a link that is measured: servers, and clients that time what they get.

In a process of its own, for a namespace say:

    python -m bench.link.ends sink HOST:PORT           # "ready"; JSON of arrivals when it has all
    python -m bench.link.ends echo HOST:PORT           # "ready"; until it is ended
    python -m bench.link.ends send HOST:PORT BYTES
    python -m bench.link.ends ping HOST:PORT COUNT     # JSON: seconds there and back
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from saccade.tasks import end, within

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 60.0


@asynccontextmanager
async def serving(handler: Handler, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """A TCP server and its address; what it still does at the end is cancelled."""
    running: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            # Cancelled by us below; asyncio's own callback would report it as an error.
            with suppress(ConnectionError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            running.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    host, _, port = listen.rpartition(":")
    server = await asyncio.start_server(connected, host, int(port))
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await end(*running)


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


async def send(address: str, count: int) -> None:
    """So many bytes and the end of them; returns when the other end has closed, too."""
    reader, writer = await connect(address)
    writer.write(bytes(count))
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def ping(address: str, count: int, payload: bytes = b"x") -> list[float]:
    """Seconds there and back of each of ``count`` messages, one after the other.

    The first on a new connection may wait for its handshake: it is not among them.
    """
    reader, writer = await connect(address)
    times = []
    for _ in range(count + 1):
        began = time.monotonic()
        writer.write(payload)
        await within(PATIENCE_S, reader.readexactly(len(payload)))
        times.append(time.monotonic() - began)
    writer.close()
    await writer.wait_closed()
    return times[1:]


async def _serve(kind: str, listen: str) -> list[tuple[float, int]]:
    sink = Sink()
    async with serving(sink if kind == "sink" else echo, listen):
        print("ready", flush=True)
        await sink.ended.wait()  # of an echo: never
    return sink.arrivals


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("sink", "echo", "send", "ping"))
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("count", type=int, nargs="?", default=1)
    words = parser.parse_args()
    if words.kind == "send":
        asyncio.run(send(words.address, words.count))
    elif words.kind == "ping":
        print(json.dumps(asyncio.run(ping(words.address, words.count))))
    else:
        # Printed when the connection has been closed: a full pipe must not hold up the sender.
        print(json.dumps(asyncio.run(_serve(words.kind, words.address))))


if __name__ == "__main__":
    main()
