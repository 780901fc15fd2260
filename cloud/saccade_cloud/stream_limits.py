"""How long one stream may stay, and how fast it may speak."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from saccade.errors import LimitExceeded, Unreachable
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.peer_identity import Peer
from saccade_cloud.quotas import Quotas, Stream

# How long an edge may take to read why its stream has ended.
LINGER_S = 5.0


class StreamLimits:
    """From a hello that was accepted to the stream's end.

    ``finish`` ends the stream with an error once its edge has read what waits for it. An edge that
    does not read is cut off: gRPC would hold its last words, and the stream, for as long as it
    likes. Made in the task that serves the stream.
    """

    def __init__(self, quotas: Quotas, finish: Callable[[BaseException], None]) -> None:
        self._quotas = quotas
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._serving = asyncio.current_task()
        self._stream: Stream | None = None
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self, hello: pb.Hello, peer: Peer | None) -> None:
        """Take a place; the stream lasts no longer than the certificate that opened it.

        Raises ``LimitExceeded`` where the device has its share already.
        """
        self._stream = self._quotas.enter(hello.device, hello.cameras, self._displace)
        lasts_s = peer.lasts_s() if peer else None
        if lasts_s is not None:
            self._timers.append(self._loop.call_later(lasts_s, self._expire))

    async def admit(self, message: pb.EdgeMessage) -> None:
        """Wait until this edge may be read on."""
        if self._stream is None:
            return
        wait_s = self._quotas.take(self._stream, message.ByteSize())
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def decoded(self, took_s: float) -> None:
        """A packet took so long to decode: wait until this edge may be read on."""
        if self._stream is None:
            return
        wait_s = self._quotas.decoded(self._stream, took_s)
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def question(self) -> AbstractContextManager[None]:
        """While a question is open. Entering it raises ``LimitExceeded``."""
        return nullcontext() if self._stream is None else self._quotas.question(self._stream)

    async def begin_storing(self) -> None:
        """Wait for the device's room on the way to the disk; ``end_storing`` gives it back."""
        if self._stream is not None:
            await self._stream.device.storing.acquire()

    def end_storing(self) -> None:
        if self._stream is not None:
            self._stream.device.storing.release()

    def end(self) -> None:
        """Leave. Once the stream has ended; more than once is safe."""
        for timer in self._timers:
            timer.cancel()
        if self._stream is not None:
            self._quotas.leave(self._stream)

    def fail(self, error: BaseException) -> None:
        """End the stream with ``error``."""
        self._finish(error)
        self.cut_off(LINGER_S)

    def cut_off(self, after_s: float) -> None:
        """End the stream after so long, if it has not ended by then."""
        if self._serving is not None:
            self._timers.append(self._loop.call_later(after_s, self._serving.cancel))

    def _displace(self, reason: str) -> None:
        self.fail(LimitExceeded(reason))

    def _expire(self) -> None:
        # An edge comes back after this, with the certificate that it has by then.
        self.fail(Unreachable("the certificate that opened this stream has expired"))
