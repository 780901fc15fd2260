"""How fast a served cloud acknowledges packets that it has stored durably.

    python -m bench.store [--rate 500] [--seconds 10] [--edges 16] [--folder /var/tmp]

A cloud process with a SQLite store, and edges in this process that talk gRPC to it over loopback.
First they offer ``--rate`` packets a second together; the time of an acknowledgement counts from
when its packet was due, so a cloud that falls behind can't hide it. Then each keeps as many packets
in flight as it may, and acknowledgements a second are counted. The baseline, in the same run, is
the same cloud with one commit for each packet.

The last line is JSON, by arm: `acks_per_second`, `p50_ms`, `p99_ms` at the offered rate,
`most_per_second` and its `most_p99_ms`, and `packet_bytes`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from bench.common import table
from saccade.bundle import Bundle
from saccade.packet import pack
from saccade.session import PROTOCOL
from saccade.types import FrameTokens, TokenSet, ViewTokens
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade.views_header import WHOLE
from saccade_cloud.assemble import open_cloud, open_engine
from saccade_cloud.server import CloudServer
from saccade_cloud.server_settings import Address, ServerSettings
from saccade_cloud.store.group_commit import BATCH_ROWS
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.store_opening import open_database

IN_FLIGHT = 64
TOKENS = 4  # of 32 features in float16: with its headers a packet of some 300 bytes
ARMS = {"group commit": BATCH_ROWS, "one commit a packet": 1}


@dataclass
class Run:
    """What one load came to."""

    acks: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.acks / self.seconds

    def quantile(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent))


class Edge:
    """One stream; its packets differ only in their sequence."""

    def __init__(self, stub: Any, bundle: Bundle, index: int) -> None:  # noqa: ANN401 - aio's stub
        self._call = stub.Connect()
        self._hello = pb.Hello(
            protocol=PROTOCOL,
            device=f"bench{index}",
            boot=secrets.randbits(64),
            token_digest=bundle.token_digest,
            cameras=["north"],
        )
        self._packet = packet(bundle)
        self._due_s: dict[int, float] = {}
        self._room = asyncio.Semaphore(IN_FLIGHT)

    async def run(self, seconds: float, interval_s: float, found: Run) -> None:
        """Packets every ``interval_s``, or as fast as they are acknowledged where it is 0."""
        await self._call.write(pb.EdgeMessage(hello=self._hello))
        await self._call.read()
        hearing = asyncio.create_task(self._hear(found))
        started = time.perf_counter()
        sequence = 0
        while (due_s := started + sequence * interval_s) < started + seconds:
            if interval_s:
                await asyncio.sleep(due_s - time.perf_counter())
            elif time.perf_counter() > started + seconds:
                break
            await self._room.acquire()
            sequence += 1
            self._packet.sequence = sequence
            self._due_s[sequence] = due_s if interval_s else time.perf_counter()
            await self._call.write(pb.EdgeMessage(packet=self._packet))
        await self._call.write(pb.EdgeMessage(bye=pb.Bye()))
        await self._call.done_writing()
        await hearing

    async def _hear(self, found: Run) -> None:
        while isinstance(message := await self._call.read(), pb.CloudMessage):
            if not message.ack.stored:
                raise SystemExit(f"not stored: {message}")
            due_s = self._due_s.pop(message.ack.sequence)
            found.latencies_ms.append((time.perf_counter() - due_s) * 1e3)
            found.acks += 1
            self._room.release()


def packet(bundle: Bundle) -> tokens_pb2.FramePacket:
    """A frame of one view with a few tokens."""
    encoder = bundle.manifest.encoder
    ids, grid = np.arange(TOKENS, dtype=np.int32), encoder.geometry.layout((384, 640)).grid
    features = np.random.default_rng(0).normal(size=(TOKENS, encoder.dim)).astype(np.float32)
    view = ViewTokens(0, WHOLE, TokenSet(features, ids, grid, ids))
    frame = FrameTokens(
        sequence=1, camera="north", captured_ns=time.time_ns(), size=(384, 640), views=(view,)
    )
    return pack(frame, "f16", epoch_unix_ms=0)


async def load(address: str, bundle: Bundle, edges: int, rate: float, seconds: float) -> Run:
    """All edges at once; ``rate`` together, 0: as fast as it goes."""
    found = Run()
    interval_s = edges / rate if rate else 0.0
    async with grpc.aio.insecure_channel(address) as channel:
        stub = VisionStub(channel)
        started = time.perf_counter()
        ends = [Edge(stub, bundle, index) for index in range(edges)]
        await asyncio.gather(*(end.run(seconds, interval_s, found) for end in ends))
        found.seconds = time.perf_counter() - started
    return found


def serve(named: str, path: str, rows: int, pipe: Connection) -> None:
    """A cloud in a process of its own, until the pipe says so."""

    async def main() -> None:
        bundle = Bundle.open(named)
        store = SqlStore(open_database(path), batch_rows=rows)
        settings = ServerSettings(Address("127.0.0.1", 0), drain_s=1.0)
        server = CloudServer(open_cloud([(bundle, open_engine(bundle))], settings, store))
        pipe.send(str(await server.start()))
        await asyncio.to_thread(pipe.recv)
        await server.stop()

    asyncio.run(main())


@contextmanager
def cloud(named: str, path: Path, rows: int) -> Iterator[str]:
    """Its address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(named, str(path), rows, theirs))
    process.start()
    try:
        yield ours.recv()
        ours.send(None)
        process.join(20)
    finally:
        process.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="durable acknowledgements a second")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--rate", type=float, default=500, help="packets a second, all edges")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--edges", type=int, default=16)
    parser.add_argument("--folder", help="on the disk to measure; default: the temporary one")
    options = parser.parse_args(arguments)
    bundle = Bundle.open(options.bundle)
    size = packet(bundle).ByteSize()
    columns, record = {}, {}
    for arm, rows in ARMS.items():
        with (
            tempfile.TemporaryDirectory(dir=options.folder) as folder,
            cloud(options.bundle, Path(folder) / "store.db", rows) as address,
        ):
            usual, most = (
                asyncio.run(load(address, bundle, options.edges, rate, options.seconds))
                for rate in (options.rate, 0.0)
            )
        columns[arm] = {
            f"acknowledged a second, {options.rate:g} offered": f"{usual.per_second:.0f}",
            "ms, median": f"{usual.quantile(50):.1f}",
            "ms, 99th percentile": f"{usual.quantile(99):.1f}",
            "most a second": f"{most.per_second:.0f}",
            "ms then, 99th percentile": f"{most.quantile(99):.1f}",
        }
        record[arm] = {
            "acks_per_second": round(usual.per_second, 1),
            "p50_ms": round(usual.quantile(50), 2),
            "p99_ms": round(usual.quantile(99), 2),
            "most_per_second": round(most.per_second, 1),
            "most_p99_ms": round(most.quantile(99), 2),
        }
    print(table(f"packets of {size} bytes, {options.edges} edges", columns, width=22))
    print(json.dumps({**record, "packet_bytes": size}))


if __name__ == "__main__":
    main()
