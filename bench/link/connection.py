"""One TCP connection through the emulated link: two sockets and a flow each way.

What a real connection would send crosses the link as packets with headers: SYN and its answer,
bytes, FIN, RST; only acknowledgements don't. Sockets are read only as fast as the link takes
bytes, so whoever sends feels the link through a full socket buffer, and nothing here grows
without bound.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

from bench.link.room import Room
from bench.link.wire import Wire
from saccade.tasks import end, first_done

HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12
SEGMENT_BYTES = 1500 - HEADER_BYTES
READ_BYTES = 32 * 1024
# What one connection may have in the link each way, as a receiver's window would bound it.
WINDOW_BYTES = 1 << 20


class Fate(enum.Enum):
    """How a connection ends when its ends don't end it."""

    RESET = enum.auto()
    EDGE_SILENT = enum.auto()
    CLOUD_SILENT = enum.auto()
    BOTH_SILENT = enum.auto()


@dataclass(slots=True)
class Lane:
    """One direction as connections use it. ``slice_bytes``: packets of 1 to so many bytes at
    random; 0: as TCP cuts them.
    """

    wire: Wire
    slice_bytes: int = 0


class Cutter:
    """Cuts a connection's bytes into packets. With one seed, slices end at the same bytes in
    every run; what is read at once only adds cuts, it never moves one.
    """

    def __init__(self, lane: Lane, seed: str) -> None:
        self._lane = lane
        self._random = Random(seed)
        self._left = 0  # of the slice that is begun

    def cut(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            size = self._size(len(data) - start)
            yield data[start : start + size]
            start += size

    def _size(self, there: int) -> int:
        most = self._lane.slice_bytes
        if not most:
            self._left = 0
            return SEGMENT_BYTES if self._lane.wire.shaped else READ_BYTES
        if not self._left:
            self._left = self._random.randint(1, most)
        size = min(self._left, there)
        self._left -= size
        return size


class Connection:
    """``edge`` is the accepted socket; the cloud is called when the SYN has crossed the link."""

    def __init__(
        self, edge: socket.socket, target: tuple[str, int], up: Lane, down: Lane, seed: str
    ) -> None:
        self._edge = edge
        self._cloud: socket.socket | None = None
        self._target = target
        self._up, self._down = up, down
        self._seed = seed
        self._fate: asyncio.Future[Fate] = asyncio.get_running_loop().create_future()

    def end(self, fate: Fate) -> None:
        """Soon. A second fate changes nothing."""
        if not self._fate.done():
            self._fate.set_result(fate)

    async def run(self) -> list[socket.socket]:
        """Until both ends have closed, or its fate. What is given back is to stay open, silent;
        all else is closed.
        """
        work = asyncio.ensure_future(self._relay())
        try:
            await first_done(work, self._fate)
        finally:
            await end(work)
            kept = self._part()
        if not work.cancelled():
            work.result()
        return kept

    def _part(self) -> list[socket.socket]:
        fate = self._fate.result() if self._fate.done() else None
        kept = []
        for side, keeps in ((self._edge, Fate.EDGE_SILENT), (self._cloud, Fate.CLOUD_SILENT)):
            if side is None:
                continue
            if fate in (keeps, Fate.BOTH_SILENT):
                kept.append(side)
            else:
                close(side, reset=fate is not None)
        return kept

    async def _relay(self) -> None:
        await self._crossed(self._up)
        self._cloud = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        prepare(self._cloud)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(self._cloud, self._target)
        except OSError:  # nobody there
            await self._crossed(self._down)
            self.end(Fate.RESET)
            return
        await self._crossed(self._down)
        up = _Flow(self._edge, self._cloud, self._up, f"{self._seed} up")
        down = _Flow(self._cloud, self._edge, self._down, f"{self._seed} down")
        parts = [
            asyncio.ensure_future(self._or_reset(work, lane))
            for work, lane in (
                (up.read(), self._up),
                (up.write(), self._down),
                (down.read(), self._down),
                (down.write(), self._up),
            )
        ]
        try:
            await asyncio.gather(*parts)
        finally:
            await end(*parts)

    async def _or_reset(self, work: Awaitable[None], lane: Lane) -> None:
        """An end that is torn is torn for the other end when the RST has crossed the link."""
        try:
            await work
        except OSError:
            await self._crossed(lane)
            self.end(Fate.RESET)

    async def _crossed(self, lane: Lane) -> None:
        """Send a packet without payload and wait until it has arrived."""
        arrived = asyncio.Event()
        await lane.wire.send(HEADER_BYTES, arrived.set)
        await arrived.wait()


class _Flow:
    """From one socket through the link to the other; an empty piece is the FIN."""

    def __init__(self, source: socket.socket, sink: socket.socket, lane: Lane, seed: str) -> None:
        self._source, self._sink, self._lane = source, sink, lane
        self._cutter = Cutter(lane, seed)
        self._window = Room(WINDOW_BYTES)
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> None:
        """Raises ``OSError`` where the source was reset."""
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(self._source, READ_BYTES):
            for piece in self._cutter.cut(data):
                await self._send(piece)
        await self._send(b"")

    async def _send(self, piece: bytes) -> None:
        await self._window.take(len(piece))
        deliver = partial(self._arrived.put_nowait, piece)
        await self._lane.wire.send(len(piece) + HEADER_BYTES, deliver)

    async def write(self) -> None:
        """Raises ``OSError`` where the sink does not take it."""
        loop = asyncio.get_running_loop()
        while piece := await self._arrived.get():
            await loop.sock_sendall(self._sink, piece)
            self._window.give(len(piece))
        self._sink.shutdown(socket.SHUT_WR)


def prepare(sock: socket.socket) -> None:
    """Each packet is sent as it arrives, not gathered with the next."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def close(sock: socket.socket, *, reset: bool) -> None:
    """With a FIN, or with a RST: SO_LINGER on, 0 s."""
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_alone(sock: socket.socket) -> bool:
    """Whether the other end of a socket that nobody reads has closed or reset it."""
    state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state in (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT of Linux's tcp_states.h
