"""The emulated link as a TCP proxy: every connection to it is one through the link.

The way of a byte: `bench.link.connection` cuts what it reads into packets, `bench.link.wire` lets
them through when the trace says so, and they are written to the other side's socket.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any

from bench.link.clock import Clock
from bench.link.connection import Connection, Fate, Lane, close, is_alone, prepare
from bench.link.link_events import Event, Sides, Ways
from bench.link.trace import Trace
from bench.link.wire import Shape, Wire
from saccade.errors import ConfigError
from saccade.tasks import end
from saccade_cloud.server_settings import Address

DOWN_TIMES_UP = 10.0
MAX_CONNECTIONS = 4096
# The kernel's own buffer before ours; it doubles the figure for its bookkeeping.
RECEIVE_BYTES = 32 * 1024
_FATES = {"edge": Fate.EDGE_SILENT, "cloud": Fate.CLOUD_SILENT, "both": Fate.BOTH_SILENT}
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def downlink_of(up: Shape) -> Shape:
    """The usual downlink: the uplink's ups, downs and outages at ten times the rate, same delay."""
    return replace(up, trace=up.trace.times(DOWN_TIMES_UP) if up.trace else None)


@dataclass(slots=True)
class Connections:
    """Counted since the start. ``refused``: more than allowed at once; ``reset`` by an event."""

    accepted: int = 0
    refused: int = 0
    reset: int = 0
    silenced: int = 0


class LinkProxy:
    """Listens while the ``async with`` statement lasts and forwards to ``target`` (HOST:PORT).

    ``up`` is the way from those who connect to ``target``. ``schedule``'s seconds and the traces'
    are the link's: the wall's times ``speed``, from ``start_s`` on. ``seed`` decides how slices are
    cut, per connection and way. Raises ``ConfigError`` where it can't listen.
    """

    def __init__(
        self,
        target: str,
        up: Shape,
        down: Shape | None = None,
        *,
        listen: str = "127.0.0.1:0",
        speed: float = 1.0,
        start_s: float = 0.0,
        seed: int = 0,
        schedule: Iterable[Event] = (),
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._target = Address.parse(target)
        self._listen = Address.parse(listen)
        self._shapes = (up, down or downlink_of(up))
        self._speed, self._start_s, self._seed = speed, start_s, seed
        self._schedule = sorted(schedule, key=lambda event: event.at_s)
        if self._schedule and self._schedule[0].at_s < start_s:
            early = self._schedule[0]
            raise ConfigError(
                f"'{early.at_s:g} {early.line}' lies before the start at {start_s:g} s"
            )
        self._max_connections = max_connections
        self._open: dict[asyncio.Task[None], Connection] = {}
        self._silent: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connections = Connections()

    async def __aenter__(self) -> LinkProxy:  # noqa: PYI034 - typing.Self is Python 3.11
        self.clock = Clock(self._speed, self._start_s)
        self._socket = _listening(self._listen)
        self.up, self.down = (Lane(Wire(self.clock, shape)) for shape in self._shapes)
        self._tasks = [asyncio.ensure_future(self._accept()), asyncio.ensure_future(self._follow())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await end(*self._tasks, *self._open)
        for lane in (self.up, self.down):
            lane.wire.close()
        for sock in (self._socket, *self._silent):
            sock.close()
        self._silent.clear()

    @property
    def address(self) -> str:
        """Where the edge connects to."""
        return str(Address(*self._socket.getsockname()[:2]))

    @property
    def open_connections(self) -> int:
        """Those that relay; silent ones are counted apart."""
        return len(self._open)

    @property
    def silent_sockets(self) -> int:
        """What half-open connections keep open for ends that have not gone yet."""
        self._reap()
        return len(self._silent)

    def blackhole(self, seconds: float, ways: Ways = "both") -> None:
        """Nothing passes for so many link seconds; bytes are held and pass afterwards."""
        for lane in self._lanes(ways):
            lane.wire.blackhole(seconds)

    def reset(self) -> None:
        """A RST to both ends of every connection, at once; what was under way is lost."""
        self.connections.reset += self._end_all(Fate.RESET)

    def half_open(self, silent: Sides = "both") -> None:
        """Every connection stops and is never closed: for ``silent`` nothing tells this from a
        slow peer. The other side, where there is one, finds its connection reset.
        """
        self.connections.silenced += self._end_all(_FATES[silent])

    def set_trace(self, trace: Trace | None, ways: Ways = "both") -> None:
        for lane in self._lanes(ways):
            lane.wire.set_trace(trace)

    def set_delay(self, seconds: float, ways: Ways = "both") -> None:
        """One way, for bytes that are sent from now on."""
        for lane in self._lanes(ways):
            lane.wire.set_delay(seconds)

    def set_slice(self, most_bytes: int, ways: Ways = "both") -> None:
        """Packets of 1 to so many bytes, each written by itself; 0: as TCP cuts them."""
        for lane in self._lanes(ways):
            lane.slice_bytes = most_bytes

    def report(self) -> dict[str, Any]:
        """What has passed so far, for the last line of a run."""
        return {
            "link_s": round(self.clock.now(), 3),
            "connections": asdict(self.connections),
            "up": asdict(self.up.wire.passed),
            "down": asdict(self.down.wire.passed),
        }

    def _lanes(self, ways: Ways) -> Sequence[Lane]:
        return {"up": [self.up], "down": [self.down], "both": [self.up, self.down]}[ways]

    def _end_all(self, fate: Fate) -> int:
        for connection in self._open.values():
            connection.end(fate)
        return len(self._open)

    async def _follow(self) -> None:
        for event in self._schedule:
            await self.clock.until(event.at_s)
            event.apply(self)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                if error.errno in _EXHAUSTED:  # until others have closed
                    await asyncio.sleep(0.05)
                continue
            self._reap()
            if len(self._open) + len(self._silent) >= self._max_connections:
                self.connections.refused += 1
                close(sock, reset=True)
                continue
            self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        self.connections.accepted += 1
        prepare(sock)
        seed = f"{self._seed} {self.connections.accepted}"
        target = (self._target.host, self._target.port)
        connection = Connection(sock, target, self.up, self.down, seed)
        task = asyncio.ensure_future(self._serve(connection))
        self._open[task] = connection
        task.add_done_callback(self._open.pop)

    async def _serve(self, connection: Connection) -> None:
        kept = await connection.run()
        self._silent.extend(kept)

    def _reap(self) -> None:
        """Close silent sockets whose other end has gone: it can't tell any more."""
        for sock in self._silent:
            if is_alone(sock):
                sock.close()
        self._silent = [sock for sock in self._silent if sock.fileno() >= 0]


def _listening(address: Address) -> socket.socket:
    address.check_free()
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    try:
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error
    sock.listen(1024)
    sock.setblocking(False)
    return sock
