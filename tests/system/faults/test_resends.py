"""A client that says packets again, in other orders, on several streams, and in doubt."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import grpc

from saccade.bundle import Bundle
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade.v1.vision_pb2_grpc import VisionStub
from saccade_testing.cloud_server import channel_to, hello, packet
from saccade_testing.fault_scene import Scene, play
from saccade_testing.invariant import examine
from saccade_testing.journal import Journal, JournalWriter

PACKETS = 300
ROUNDS = 8  # of two streams at once
WINDOW = 32  # unacknowledged on a stream
DEVICE, BOOT = "kerb", 1


@dataclass
class Client:
    """``acknowledged``: what the cloud said it had stored; ``said``: packets, with repetitions."""

    bundle: Bundle
    channel: grpc.aio.Channel
    packets: dict[int, tokens_pb2.FramePacket]
    acknowledged: set[int] = field(default_factory=set)
    said: int = 0

    async def stream(self, order: list[int], in_doubt: list[int], break_after: int) -> None:
        """Say packets in an order that may name some of them twice; break off after so many
        acknowledgements, or leave well.
        """
        stub: Any = VisionStub(self.channel)
        call = stub.Connect()
        known = set(self.acknowledged)
        greeting = hello(self.bundle, device=DEVICE, boot=BOOT, in_doubt=in_doubt)
        await call.write(pb.EdgeMessage(hello=greeting))
        welcome = (await call.read()).welcome
        assert known & set(in_doubt) <= set(welcome.stored) <= set(in_doubt)
        assert welcome.resume_after >= max(known, default=0)
        in_flight: set[int] = set()
        for heard, sequence in enumerate(order):
            if heard == break_after:
                call.cancel()
                return
            while sequence in in_flight or len(in_flight) >= WINDOW:
                in_flight.discard(await self._acknowledgement(call))
            in_flight.add(sequence)
            await call.write(pb.EdgeMessage(packet=self.packets[sequence]))
            self.said += 1
        while in_flight:
            in_flight.discard(await self._acknowledgement(call))
        await call.write(pb.EdgeMessage(bye=pb.Bye(reason="done")))
        await call.done_writing()

    async def _acknowledgement(self, call: Any) -> int:
        ack = (await asyncio.wait_for(call.read(), 30)).ack
        assert ack.stored
        self.acknowledged.add(ack.sequence)
        return int(ack.sequence)


def captured(journal: JournalWriter) -> dict[int, tokens_pb2.FramePacket]:
    """Packets that differ in more than their number."""
    made = {}
    for sequence in range(1, PACKETS + 1):
        made[sequence] = packet(sequence, kept=1 + sequence % 4)
        made[sequence].captured_ms += sequence
        content = made[sequence].SerializeToString(deterministic=True)
        journal.captured((DEVICE, BOOT, sequence), content)
        journal.handed((DEVICE, BOOT, sequence))
    return made


def test_packets_that_come_again_in_any_order_on_any_stream_are_stored_once(
    scene: Scene, bundle: Bundle
) -> None:
    chance = random.Random(5)
    path = scene.folder / "journal"
    packets = captured(JournalWriter(path))
    numbers = list(packets)

    async def story() -> int:
        with scene.cloud() as (_, address):
            async with channel_to(address, None) as first, channel_to(address, None) as second:
                clients = [Client(bundle, each, packets) for each in (first, second)]
                clients[1].acknowledged = clients[0].acknowledged
                for _ in range(ROUNDS):
                    await asyncio.gather(*(round_of(client) for client in clients))
                await clients[0].stream(numbers[::-1], numbers, -1)
                await another_packet_under_the_same_name(first)
                assert clients[0].acknowledged == set(numbers)
        return sum(client.said for client in clients)

    async def round_of(client: Client) -> None:
        order = chance.choices(numbers, k=120)  # the newest before the oldest, some twice
        breaks = chance.choice([-1, 20, 60])
        await client.stream(order, chance.sample(numbers, 200), breaks)

    async def another_packet_under_the_same_name(channel: grpc.aio.Channel) -> None:
        stub: Any = VisionStub(channel)
        call = stub.Connect()
        await call.write(pb.EdgeMessage(hello=hello(bundle, device=DEVICE, boot=BOOT)))
        await call.read()
        await call.write(pb.EdgeMessage(packet=packet(7, kept=9)))
        failure = (await call.read()).failure
        assert (failure.code, failure.sequence) == ("packet", 7)
        call.cancel()

    said: list[int] = []

    async def told() -> None:
        said.append(await story())

    play(told)
    figures = examine(scene.store, (Journal(path), None), conflicts=1)
    scene.note(f"resends: {said[0]} packets said in any order", figures)
    assert (figures.stored, figures.lost) == (PACKETS, 0)
    assert figures.heard_again > PACKETS  # nearly all that was said beyond the first time
