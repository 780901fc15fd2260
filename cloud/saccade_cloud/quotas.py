"""What one device may take of the cloud, so that none of them can take it from the others.

Streams: a device that comes back is let in, and its oldest stream ends. The old one is mostly a
connection that died without a word, which the server only notices after its keepalive; refusing
the new one would lock out the living for the sake of the dead.

Rates: who sends more is read more slowly. Nothing is refused: HTTP/2 then holds the device's own
writes, and no one else's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

BURST_S = 2.0  # what a device has not used, it may catch up with, for so long


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one device. ``streams_per_camera``: one that works and one that has died unnoticed."""

    streams: int = 16
    streams_per_camera: int = 2
    messages_per_s: float = 500.0  # packets and questions: 16 cameras at 30 frames a second
    bytes_per_s: float = 8e6  # of packets and questions: 400 frames of all tokens in half floats


class Bucket:
    """A token bucket that may be overdrawn: whoever overdraws it waits until it is even again."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = per_s
        self._level = per_s * BURST_S
        self._at_s = now_s

    def take(self, amount: float, now_s: float) -> float:
        """Seconds to wait before the next."""
        self._level = self.level(now_s) - amount
        self._at_s = now_s
        return max(-self._level / self._per_s, 0.0)

    def full(self, now_s: float) -> bool:
        """Nothing would be forgotten with it."""
        return self.level(now_s) >= self._per_s * BURST_S

    def level(self, now_s: float) -> float:
        """What may be taken without waiting."""
        gained = (now_s - self._at_s) * self._per_s
        return min(self._level + gained, self._per_s * BURST_S)


@dataclass(eq=False, slots=True)
class Device:
    """``streams``: as they came; ``slowed``: messages that had to wait."""

    name: str
    messages: Bucket
    bytes: Bucket
    streams: list[Stream] = field(default_factory=list)
    slowed: int = 0


@dataclass(eq=False, slots=True)
class Stream:
    """One stream's place among its device's; ``displace`` ends it with a reason."""

    device: Device
    cameras: frozenset[str]
    displace: Callable[[str], None]


class Quotas:
    """Of all devices. Used from one event loop. ``slowed``: messages that had to wait, so far."""

    def __init__(self, quota: Quota, clock: Callable[[], float] = time.monotonic) -> None:
        self._quota = quota
        self._clock = clock
        self._devices: dict[str, Device] = {}
        self.slowed = 0

    def enter(self, device: str, cameras: Sequence[str], displace: Callable[[str], None]) -> Stream:
        """A place for a new stream; an older one of this device may have to go for it."""
        self._forget()
        known = self._devices.get(device) or self._add(device)
        entered = Stream(known, frozenset(cameras), displace)
        same = [other for other in known.streams if other.cameras & entered.cameras]
        self._make_room(same, self._quota.streams_per_camera, "of this camera")
        self._make_room(known.streams, self._quota.streams, "of this device")
        known.streams.append(entered)
        return entered

    def leave(self, stream: Stream) -> None:
        """When it has ended; more than once is safe."""
        if stream in stream.device.streams:
            stream.device.streams.remove(stream)

    def take(self, stream: Stream, message_bytes: int) -> float:
        """Seconds that a stream has to wait before it reads on."""
        known, now_s = stream.device, self._clock()
        wait_s = max(known.messages.take(1, now_s), known.bytes.take(message_bytes, now_s))
        if wait_s:
            if not known.slowed:
                log.warning("device %s sends faster than its quota and is slowed", known.name)
            known.slowed += 1
            self.slowed += 1
        return wait_s

    def _make_room(self, among: list[Stream], most: int, what: str) -> None:
        for oldest in among[: max(len(among) + 1 - most, 0)]:
            self.leave(oldest)
            oldest.displace(f"a newer stream {what} came, and {most} at once is the limit")

    def _add(self, name: str) -> Device:
        quota, now_s = self._quota, self._clock()
        device = Device(name, Bucket(quota.messages_per_s, now_s), Bucket(quota.bytes_per_s, now_s))
        self._devices[name] = device
        return device

    def _forget(self) -> None:
        """Devices that left and whose buckets are full: a new entry would be the same."""
        now_s = self._clock()
        for name in [
            name
            for name, known in self._devices.items()
            if not known.streams and known.messages.full(now_s) and known.bytes.full(now_s)
        ]:
            del self._devices[name]
