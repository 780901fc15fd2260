"""Memory after ten thousand failed connections, and how fast a vanished cloud is noticed.

gRPC's asyncio calls leak when they are opened on a channel that is not connected (grpc issues 38499
and 43360): an edge that is offline for days must not. The uplink opens a stream on a ready channel
only. Arms: the uplink itself, trying to reach a port where nobody listens; as the baseline, streams
that are opened there without waiting for the channel.

With ``--half-open``: a real cloud behind a proxy that stops forwarding and closes nothing, like a
router that lost its power; the time until the uplink says that the connection is lost, once the
line has been idle for ``--idle`` seconds. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

from bench.common import table
from saccade.bundle import Bundle
from saccade.channel import channel_options
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_demo.processes import address_of, running
from saccade_edge.spool import SpoolEvent
from saccade_edge.uplink import Connected, ConnectionLost, Uplink, UplinkEvent, UplinkSettings

NOBODY = "127.0.0.1:9"
WARM = 500  # opens before the first look: caches and arenas fill
PAUSE_S = 0.001


@dataclass(frozen=True)
class Growth:
    """Resident memory in bytes over ``opens``, before, between the halves and after; ``seconds``
    for all of them. What a leak takes in the second half it took in the first.
    """

    opens: int
    before: int
    between: int
    after: int
    seconds: float

    @property
    def per_open(self) -> float:
        """In the second half, when the allocator has what it wants."""
        return (self.after - self.between) / (self.opens / 2)


def resident_bytes() -> int:
    """Of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def measure(opens: int, work: Callable[[int], Awaitable[None]]) -> Growth:
    """``work(n)`` opens n times."""
    await work(WARM)
    before, began = resident_bytes(), time.monotonic()
    await work(opens // 2)
    between = resident_bytes()
    await work(opens // 2)
    return Growth(opens, before, between, resident_bytes(), time.monotonic() - began)


async def gated(bundle: Bundle, opens: int) -> None:
    """The uplink's own tries."""
    failed = 0
    enough = asyncio.Event()

    def hear(event: UplinkEvent | SpoolEvent) -> None:
        nonlocal failed
        failed += isinstance(event, ConnectionLost)
        if failed >= opens:
            enough.set()

    settings = UplinkSettings(
        NOBODY,
        "bench",
        ("camera",),
        connect_timeout_s=PAUSE_S,
        backoff_first_s=0.0,
        backoff_most_s=0.0,
    )
    uplink = Uplink(settings, bundle, hear)
    running_ = asyncio.ensure_future(uplink.run())
    await enough.wait()
    await uplink.finish(0)
    await running_


async def ungated(opens: int) -> None:
    """Streams on channels that are not connected; each fails."""
    async with grpc.aio.insecure_channel(NOBODY, channel_options(NOBODY, 1 << 20)) as channel:
        stub = VisionStub(channel)
        for _ in range(opens):
            call = stub.Connect()
            try:
                await call.read()
            except grpc.RpcError:
                continue


@asynccontextmanager
async def proxy(to: str, dead: asyncio.Event) -> AsyncIterator[str]:
    """Forwards until ``dead``, then swallows; its address."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not dead.is_set():
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = to.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        pumps = (pump(reader, far_writer), pump(far_reader, writer))
        with suppress(asyncio.CancelledError):  # at the end, which is ours
            await asyncio.gather(*pumps, return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"


async def half_open(bundle: Bundle, cloud: str, idle_s: float) -> float:
    """Seconds from the line's death until the uplink says that it is lost."""
    dead, connected, lost = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def hear(event: UplinkEvent | SpoolEvent) -> None:
        if isinstance(event, Connected):
            connected.set()
        elif isinstance(event, ConnectionLost):
            lost.set()

    async with proxy(cloud, dead) as address:
        uplink = Uplink(UplinkSettings(address, "bench", ("camera",)), bundle, hear)
        talking = asyncio.ensure_future(uplink.run())
        await connected.wait()
        await asyncio.sleep(idle_s)
        dead.set()
        began = time.monotonic()
        assert not lost.is_set(), "the connection was lost before its line was"
        await lost.wait()
        took_s = time.monotonic() - began
        await uplink.finish(0)
        talking.cancel()
        await asyncio.wait({talking})
    return took_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--opens", type=int, default=10_000)
    parser.add_argument("--half-open", action="store_true", help="takes --idle and a minute")
    parser.add_argument("--idle", type=float, default=90.0, metavar="SECONDS")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    arms = {
        "uplink": asyncio.run(measure(options.opens, lambda n: gated(bundle, n))),
        "streams, not waiting": asyncio.run(measure(options.opens, ungated)),
    }
    columns = {
        name: {
            "failed opens": f"{arm.opens:,}",
            "resident before, kB": f"{arm.before // 1000:,}",
            "half-way, kB": f"{arm.between // 1000:,}",
            "resident after, kB": f"{arm.after // 1000:,}",
            "bytes an open, second half": f"{arm.per_open:.1f}",
            "seconds": f"{arm.seconds:.1f}",
        }
        for name, arm in arms.items()
    }
    print(table("memory", columns, width=22))
    record: dict[str, object] = {
        name: {
            "opens": arm.opens,
            "bytes_per_open": round(arm.per_open, 2),
            "grown_bytes": arm.after - arm.before,
        }
        for name, arm in arms.items()
    }
    if options.half_open:
        serve = ("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={bundle.folder}")
        with running("cloud", serve) as cloud:
            took_s = asyncio.run(half_open(bundle, address_of(cloud), options.idle))
        print(f"\nhalf-open line after {options.idle:g} s of silence: noticed in {took_s:.1f} s")
        record["half_open"] = {"idle_s": options.idle, "noticed_s": round(took_s, 1)}
    print(json.dumps(record))


if __name__ == "__main__":
    main()
