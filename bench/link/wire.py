"""One direction of an emulated link: a byte queue, a trace that empties it, a delay.

It carries packets for whoever sends them and knows neither TCP nor IP. All that pass share it,
like a cell's uplink: one queue, first in, first out, as in Mahimahi's `mm-link`. An opportunity
to send that finds the queue empty is lost.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.link.clock import Clock
from bench.link.room import Room
from bench.link.trace import Trace
from saccade.errors import ConfigError

# Two seconds' worth at 1 Mbit/s, twenty at 100 kbit/s: modems queue that much and more.
QUEUE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """``trace``: None lets everything pass at once. ``delay_s``: one way, in link seconds.
    ``queue_bytes``: what may wait for its opportunity, headers included; what is under way after
    it does not count.
    """

    trace: Trace | None = None
    delay_s: float = 0.0
    queue_bytes: int = QUEUE_BYTES

    def __post_init__(self) -> None:
        if not 0 <= self.delay_s <= 60:
            raise ConfigError(f"a delay of {self.delay_s:g} s: 0 to 60 s")
        if not 1500 <= self.queue_bytes <= 1 << 30:
            raise ConfigError(f"a queue of {self.queue_bytes:,} bytes: 1,500 bytes to 1 GiB")


@dataclass(slots=True)
class _Packet:
    size: int
    entered_s: float
    deliver: Callable[[], None]
    arrives_s: float = field(default=math.inf)


@dataclass(slots=True)
class Passed:
    """What a direction has done: ``packets`` and ``bytes`` delivered, headers included;
    ``dropped`` packets found the queue full; ``queued_s`` is the longest that one waited.
    """

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    queued_s: float = 0.0


class Wire:
    """Lives on its clock's loop, without tasks: one timer for the next thing that is due."""

    def __init__(self, clock: Clock, shape: Shape) -> None:
        self._clock = clock
        self._trace = shape.trace
        self._delay_s = shape.delay_s
        self._room = Room(shape.queue_bytes)
        self._queue: deque[_Packet] = deque()
        self._flight: deque[_Packet] = deque()
        self._head_done_s: float | None = None
        self._free_s = 0.0  # when the packet before was through
        self._open_s = 0.0  # nothing moves before
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._last_arrival_s = 0.0
        self.passed = Passed()

    @property
    def shaped(self) -> bool:
        """Whether a trace says what may pass."""
        return self._trace is not None

    @property
    def queued_bytes(self) -> int:
        return self._room.used

    async def send(self, size: int, deliver: Callable[[], None]) -> None:
        """Wait for room in the queue, then go. ``deliver`` is called at the other end."""
        await self._room.take(size)
        self._enter(size, deliver)

    def offer(self, size: int, deliver: Callable[[], None]) -> bool:
        """Go, or be dropped where the queue is full."""
        if not self._room.try_take(size):
            self.passed.dropped += 1
            return False
        self._enter(size, deliver)
        return True

    def set_trace(self, trace: Trace | None) -> None:
        """From now on; it is read at the link's own time, not from its beginning. The packet that
        is being sent begins anew.
        """
        self._trace = trace
        self._free_s = max(self._free_s, self._clock.now())
        self._head_done_s = None
        self._turn()

    def set_delay(self, seconds: float) -> None:
        """For packets that are sent from now on; none overtakes another."""
        self._delay_s = seconds

    def blackhole(self, seconds: float) -> None:
        """Nothing leaves the queue and nothing arrives for so many link seconds from now. All is
        held and goes on afterwards: the opportunities of that time are lost, no byte is.
        """
        self._open_s = max(self._open_s, self._clock.now() + seconds)
        self._head_done_s = None
        self._turn()

    def close(self) -> None:
        """Deliver nothing more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._queue.clear()
        self._flight.clear()

    def _enter(self, size: int, deliver: Callable[[], None]) -> None:
        self._queue.append(_Packet(size, self._clock.now(), deliver))
        if len(self._queue) == 1:
            self._turn()

    def _turn(self) -> None:
        """Let go all that is due, then sleep until the next thing is."""
        now = self._clock.now()
        while self._queue and self._done_s() <= now:
            self._leave(self._queue.popleft())
        if now >= self._open_s:
            while self._flight and self._flight[0].arrives_s <= now:
                self._arrive(self._flight.popleft())
        self._rest()

    def _done_s(self) -> float:
        """When the packet at the head of the queue will have passed."""
        if self._head_done_s is None:
            packet = self._queue[0]
            begins = max(self._free_s, packet.entered_s, self._open_s)
            if self._trace is None:
                self._head_done_s = begins
            else:
                sent = self._trace.bytes_by(begins) + packet.size
                self._head_done_s = max(begins, self._trace.when(sent))
        return self._head_done_s

    def _leave(self, packet: _Packet) -> None:
        assert self._head_done_s is not None
        self._free_s, self._head_done_s = self._head_done_s, None
        self._last_arrival_s = max(self._last_arrival_s, self._free_s + self._delay_s)
        packet.arrives_s = self._last_arrival_s
        self._flight.append(packet)
        self.passed.queued_s = max(self.passed.queued_s, self._free_s - packet.entered_s)
        self._room.give(packet.size)

    def _arrive(self, packet: _Packet) -> None:
        self.passed.packets += 1
        self.passed.bytes += packet.size
        packet.deliver()

    def _rest(self) -> None:
        due = self._done_s() if self._queue else math.inf
        if self._flight:
            due = min(due, max(self._flight[0].arrives_s, self._open_s))
        if due == self._timer_s and self._timer:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_s = due
        self._timer = None if due == math.inf else self._clock.at(due, self._rung)

    def _rung(self) -> None:
        self._timer = None
        self._turn()
