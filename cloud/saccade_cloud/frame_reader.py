"""How packets become frames at hand: checked, decoded once, and kept for those who ask.

Nothing less than decoding tells an entropy-coded stream from one that its edge coded wrong, and it
is that edge that must hear of it. So a packet is decoded when it comes; what that gave is cached.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from saccade.codecs import Codecs
from saccade.limits import Limits
from saccade.packet import used_part
from saccade.types import FrameTokens, Timing
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.frame_cache import DecodedFrame, FrameCache, ProjectedFrame
from saccade_cloud.frame_decoder import FrameDecoder
from saccade_cloud.frame_store import CodedTokens, StoredFrame


@dataclass(frozen=True, slots=True, eq=False)
class FrameReader:
    """Of one bundle: ``limits`` and ``codecs`` are its own, ``check`` refuses a frame about which
    nothing could be answered. ``decoder`` and ``cache`` are the cloud's.
    """

    limits: Limits
    codecs: Codecs
    check: Callable[[FrameTokens], None]
    decoder: FrameDecoder
    cache: FrameCache

    async def receive(
        self, packet: tokens_pb2.FramePacket, hello: pb.Hello, client: str = ""
    ) -> tuple[StoredFrame, DecodedFrame]:
        """An untrusted packet of ``client`` as a frame, with the stages ``receive`` (the wait for
        its turn) and ``decode``. Only what decoding used is kept of it.

        Raises ``PacketError`` and ``LimitExceeded``.
        """
        received_ns, packet_bytes = time.time_ns(), packet.ByteSize()
        decoded = await self.decoder.decode(packet, hello, self.limits, self.codecs, client)
        tokens = decoded.tokens
        self.check(tokens)
        frame = StoredFrame(
            device=hello.device,
            boot=hello.boot,
            tokens=CodedTokens(
                used_part(packet, tokens.damaged).SerializeToString(deterministic=True),
                hello,
                tokens.sequence,
                tokens.camera,
                tokens.captured_ns,
                tokens.damaged,
            ),
            packet_bytes=packet_bytes,
            received_ns=received_ns,
            timing=Timing({"receive": decoded.waited_ms, "decode": decoded.took_ms}),
        )
        return frame, DecodedFrame(tokens)

    async def seen(
        self, frame: StoredFrame, client: str
    ) -> tuple[DecodedFrame | ProjectedFrame, float]:
        """What is known of a frame, and the milliseconds of decoding that it took."""
        if (known := self.cache.get(frame)) is not None:
            return known, 0.0
        coded = frame.tokens
        packet = tokens_pb2.FramePacket.FromString(coded.packet)
        decoded = await self.decoder.decode(packet, coded.hello, self.limits, self.codecs, client)
        return DecodedFrame(decoded.tokens), decoded.took_ms

    def keep(self, frame: StoredFrame, seen: DecodedFrame | ProjectedFrame) -> None:
        """For those who ask about the same frame."""
        self.cache.put(frame, seen)
