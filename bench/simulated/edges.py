"""Many edges in one process: real channels, one connection each, the real protocol, no camera.

Offered load is open-loop: when a packet is due is settled beforehand, and its acknowledgement
counts from then on. A server that falls behind can't slow down those who measure it; what the
protocol allows in flight can, and that wait counts, too.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from saccade.channel import channel_options
from saccade.session import PROTOCOL
from saccade.tasks import end
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub

MESSAGE_BYTES = 1 << 20
WELCOME_S = 60.0
LATE_S = 5.0  # how long acknowledgements may still come once the last packet was due


@dataclass(frozen=True, slots=True)
class Crew:
    """The edges of one process: ``numbers`` of all edges, from 0. ``packets``: serialised."""

    address: str
    digest: bytes
    packets: tuple[bytes, ...]
    numbers: range
    ramp_hz: float  # connections a second, of this process


@dataclass(frozen=True, slots=True)
class Load:
    """``interval_s`` between two packets of one edge; only what is due from ``start_s`` (monotonic
    time) + ``warm_s`` on is measured, for ``seconds``.
    """

    interval_s: float
    start_s: float
    warm_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of a load. ``late_ms``: how much later than due each packet was handed to gRPC;
    ``ack_ms``: from due to acknowledged; ``offered`` were due.
    """

    offered: int
    late_ms: list[float]
    ack_ms: list[float]


class SimulatedEdge:
    """One connection, from hello to bye."""

    def __init__(self, crew: Crew, number: int, templates: Sequence[pb.EdgeMessage]) -> None:
        self._crew = crew
        self._number = number
        self._templates = templates
        self._sequences = itertools.count(1)
        self._due_s: dict[int, float] = {}  # of packets in flight, by sequence
        self._room = asyncio.Event()
        self._most_in_flight = 1
        self._epoch_unix_ms = time.time_ns() // 1_000_000
        self.late_ms: list[float] = []
        self.ack_ms: list[float] = []

    async def connect(self) -> None:
        """Say hello and hear welcome. Raises ``AioRpcError``, or ``AssertionError``."""
        own = ("grpc.use_local_subchannel_pool", 1)  # else one connection carries all edges
        options = [*channel_options(self._crew.address, MESSAGE_BYTES), own]
        self._channel = grpc.aio.insecure_channel(self._crew.address, options)
        self._call = VisionStub(self._channel).Connect()
        hello = pb.Hello(
            protocol=PROTOCOL,
            device=f"edge-{self._number}",
            boot=random.getrandbits(64),
            token_digest=self._crew.digest,
            cameras=["camera"],
            epoch_unix_ms=self._epoch_unix_ms,
        )
        await self._call.write(pb.EdgeMessage(hello=hello))
        message = await asyncio.wait_for(self._call.read(), WELCOME_S)
        assert isinstance(message, pb.CloudMessage), f"edge {self._number}: no welcome"
        assert message.WhichOneof("kind") == "welcome", f"edge {self._number} heard {message}"
        self._most_in_flight = message.welcome.limits.in_flight_packets
        self._listening = asyncio.ensure_future(self._listen())

    async def bear(self, load: Load) -> int:
        """Send on schedule; how many packets were due while it was measured."""
        # Cameras are not in step; the same phases in every run and for every server.
        phase = random.Random(self._number).random()
        measured_s = load.start_s + load.warm_s
        offered = 0
        for turn in itertools.count():
            due_s = load.start_s + (turn + phase) * load.interval_s
            if due_s >= measured_s + load.seconds:
                return offered
            offered += due_s >= measured_s
            await asyncio.sleep(due_s - time.monotonic())
            await self._send(due_s, measured=due_s >= measured_s)
        raise AssertionError("a schedule has an end")

    async def settled(self) -> None:
        """Until nothing is in flight."""
        while self._due_s:
            self._room.clear()
            await self._room.wait()

    async def leave(self) -> None:
        """Say bye and close the connection."""
        await self._call.write(pb.EdgeMessage(bye=pb.Bye(reason="done")))
        await self._call.done_writing()
        await asyncio.wait({self._listening}, timeout=LATE_S)
        await end(self._listening)
        await self._channel.close()

    async def _send(self, due_s: float, *, measured: bool) -> None:
        while len(self._due_s) >= self._most_in_flight:
            self._room.clear()
            await self._room.wait()
        sequence = next(self._sequences)
        message = pb.EdgeMessage()
        message.CopyFrom(self._templates[sequence % len(self._templates)])
        message.packet.sequence = sequence
        message.packet.captured_ms = time.time_ns() // 1_000_000 - self._epoch_unix_ms
        # Unmeasured ones are in flight like all others.
        self._due_s[sequence] = due_s if measured else -1.0
        if measured:
            self.late_ms.append((time.monotonic() - due_s) * 1e3)
        await self._call.write(message)

    async def _listen(self) -> None:
        while isinstance(message := await self._call.read(), pb.CloudMessage):
            assert message.WhichOneof("kind") == "ack", f"edge {self._number} heard {message}"
            due_s = self._due_s.pop(message.ack.sequence)
            if due_s >= 0:
                self.ack_ms.append((time.monotonic() - due_s) * 1e3)
            self._room.set()


class Edges:
    """All edges of this process."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        templates = [_template(packet) for packet in crew.packets]
        self._edges = [SimulatedEdge(crew, number, templates) for number in crew.numbers]

    async def connect(self) -> None:
        """All of them, at a bounded rate: a gateway that restarts sees its edges' backoff."""
        await asyncio.gather(*map(self._connect_in_turn, range(len(self._edges))))

    async def bear(self, load: Load) -> Heard:
        for edge in self._edges:
            edge.late_ms, edge.ack_ms = [], []
        offered = await asyncio.gather(*(edge.bear(load) for edge in self._edges))
        settling = asyncio.gather(*(edge.settled() for edge in self._edges))
        await asyncio.wait({settling}, timeout=LATE_S)
        await end(settling)
        return Heard(
            sum(offered),
            [ms for edge in self._edges for ms in edge.late_ms],
            [ms for edge in self._edges for ms in edge.ack_ms],
        )

    async def leave(self) -> None:
        await asyncio.gather(*(edge.leave() for edge in self._edges))

    async def _connect_in_turn(self, turn: int) -> None:
        await asyncio.sleep(turn / self._crew.ramp_hz)
        await self._edges[turn].connect()


def _template(packet: bytes) -> pb.EdgeMessage:
    return pb.EdgeMessage(packet=tokens_pb2.FramePacket.FromString(packet))


def share(edges: int, processes: int) -> Sequence[range]:
    """The numbers of each process's edges; none is without."""
    processes = min(edges, processes)
    bounds = [edges * part // processes for part in range(processes + 1)]
    return [range(*pair) for pair in itertools.pairwise(bounds)]
