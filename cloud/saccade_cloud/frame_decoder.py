"""From an untrusted packet to a frame's tokens, once: what is decoded is kept for those who ask.

Small packets are decoded in the event loop, large ones in a thread; clients take turns at both.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from saccade.codecs import Codecs
from saccade.limits import Limits
from saccade.packet import unpack
from saccade.types import FrameTokens
from saccade.v1 import tokens_pb2, vision_pb2
from saccade_cloud.fair_gate import FairGate
from saccade_cloud.shared_places import SharedPlaces

# Packets up to here are decoded in the event loop. The way to a thread and back costs more than
# decoding what edges usually send (0.2 ms), and the worst that fits in here, klt, takes 3 ms: less
# than a thread that computes may keep the loop waiting for the interpreter anyway (5 ms).
SMALL_PACKET_BYTES = 2048
MOST_CLIENTS = 1 << 16  # fewer have a stream


@dataclass(frozen=True, slots=True)
class Decoded:
    """A frame's tokens, and how long they waited for a place and took, in milliseconds."""

    tokens: FrameTokens
    waited_ms: float
    took_ms: float


class FrameDecoder:
    """Of all bundles of one cloud. Serves one event loop; close it to end its thread."""

    def __init__(self) -> None:
        # Of each client one small packet in a turn of the loop; large ones one by one.
        self._small = FairGate(SharedPlaces("packets", MOST_CLIENTS, 1))
        self._large = FairGate(SharedPlaces("packets", 1, 1))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saccade-unpack")

    async def decode(
        self,
        packet: tokens_pb2.FramePacket,
        hello: vision_pb2.Hello,
        limits: Limits,
        codecs: Codecs,
        client: str,
    ) -> Decoded:
        """``limits`` and ``codecs``: of the bundle of ``hello``. Raises as `unpack` does."""
        came_s = time.perf_counter()
        work = partial(_timed, packet, hello, limits, codecs)
        if packet.ByteSize() <= SMALL_PACKET_BYTES:
            async with self._small.place(client):
                tokens, began_s, ended_s = work()
        else:
            async with self._large.place(client):
                loop = asyncio.get_running_loop()
                tokens, began_s, ended_s = await loop.run_in_executor(self._thread, work)
        return Decoded(tokens, (began_s - came_s) * 1e3, (ended_s - began_s) * 1e3)

    def close(self) -> None:
        """End the thread; what is in it is not waited for."""
        self._thread.shutdown(wait=False)


def _timed(
    packet: tokens_pb2.FramePacket, hello: vision_pb2.Hello, limits: Limits, codecs: Codecs
) -> tuple[FrameTokens, float, float]:
    began_s = time.perf_counter()
    tokens = unpack(
        packet,
        limits=limits,
        cameras=hello.cameras,
        epoch_unix_ms=hello.epoch_unix_ms,
        codecs=codecs,
    )
    return tokens, began_s, time.perf_counter()
