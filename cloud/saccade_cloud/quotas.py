"""What one device may take of the cloud, so that none of them can take it from the others.

Streams: a device that comes back is let in, and its oldest stream ends. The old one is mostly a
connection that died without a word, which the server only notices after its keepalive; refusing
the new one would lock out the living for the sake of the dead.

SharedPlaces: streams and names of cameras are few for the whole cloud. No device takes more than
its share of them (see `saccade_cloud.shared_places`), whatever it opens.

Rates: who sends more, or packets that take longer to decode, is read more slowly. Nothing is
refused: HTTP/2 then holds the device's own writes, and no one else's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from saccade.errors import LimitExceeded
from saccade_cloud.shared_places import SharedPlaces

log = logging.getLogger(__name__)

BURST_S = 2.0  # what a device has not used, it may catch up with, for so long


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one device. ``streams_per_camera``: one that works and one that has died unnoticed."""

    streams: int = 16
    streams_per_camera: int = 2
    cameras: int = 64  # names, in all of its streams
    questions: int = 256  # open, in all of its streams
    messages_per_s: float = 500.0  # packets and questions: 16 cameras at 30 frames a second
    bytes_per_s: float = 8e6  # of packets and questions: 400 frames of all tokens in half floats
    decoding: float = 0.25  # seconds of decoding its packets, a second
    storing: int = 128  # packets on their way to the disk: half a commit


class Bucket:
    """A token bucket that may be overdrawn: whoever overdraws it waits until it is even again.

    ``burst``: what it holds at most; what it gains in ``BURST_S`` where that is not said.
    """

    def __init__(self, per_s: float, now_s: float, burst: float | None = None) -> None:
        self._per_s = per_s
        self._most = per_s * BURST_S if burst is None else burst
        self._level = self._most
        self._at_s = now_s

    def take(self, amount: float, now_s: float) -> float:
        """Seconds to wait before the next."""
        self._level = self.level(now_s) - amount
        self._at_s = now_s
        return max(-self._level / self._per_s, 0.0)

    def full(self, now_s: float) -> bool:
        """Nothing would be forgotten with it."""
        return self.level(now_s) >= self._most

    def level(self, now_s: float) -> float:
        """What may be taken without waiting."""
        gained = (now_s - self._at_s) * self._per_s
        return min(self._level + gained, self._most)


@dataclass(eq=False, slots=True)
class Device:
    """``streams``: as they came; ``questions``: open; ``storing``: its room on the way to the disk;
    ``slowed``: messages that had to wait.
    """

    name: str
    messages: Bucket
    bytes: Bucket
    decoding: Bucket
    storing: asyncio.Semaphore
    streams: list[Stream] = field(default_factory=list)
    questions: int = 0
    slowed: int = 0

    def cameras(self, streams: Sequence[Stream]) -> int:
        """Different names in ``streams``."""
        return len(frozenset().union(*(stream.cameras for stream in streams)))


@dataclass(eq=False, slots=True)
class Stream:
    """One stream's place among its device's; ``displace`` ends it with a reason."""

    device: Device
    cameras: frozenset[str]
    displace: Callable[[str], None]


class Quotas:
    """Of all devices, which together have ``streams`` and ``cameras``. Used from one event loop.
    ``slowed``: messages that had to wait, so far.
    """

    def __init__(
        self,
        quota: Quota,
        streams: int = 4096,
        cameras: int = 2048,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._clock = clock
        self._devices: dict[str, Device] = {}
        self._streams = SharedPlaces("streams", streams, quota.streams)
        self._cameras = SharedPlaces("cameras", cameras, quota.cameras)
        self.slowed = 0

    def enter(self, device: str, cameras: Sequence[str], displace: Callable[[str], None]) -> Stream:
        """A place for a new stream; an older one of this device may have to go for it.

        Raises ``LimitExceeded`` where the device has its share of streams or cameras already.
        """
        self._forget()
        known = self._devices.get(device) or self._new(device)
        entered = Stream(known, frozenset(cameras), displace)
        going = self._going(known, entered)
        staying = [stream for stream in known.streams if stream not in going]
        self._streams.check(device, len(staying) + 1)
        self._cameras.check(device, known.cameras([*staying, entered]))
        self._devices[device] = known
        for stream, reason in going.items():
            self.leave(stream)
            stream.displace(reason)
        known.streams.append(entered)
        self._count(known)
        return entered

    def leave(self, stream: Stream) -> None:
        """When it has ended; more than once is safe."""
        if stream in stream.device.streams:
            stream.device.streams.remove(stream)
            self._count(stream.device)

    def take(self, stream: Stream, message_bytes: int) -> float:
        """Seconds that a stream has to wait before it reads on."""
        known, now_s = stream.device, self._clock()
        wait_s = max(known.messages.take(1, now_s), known.bytes.take(message_bytes, now_s))
        return self._slow(known, wait_s, "sends faster than its quota")

    def decoded(self, stream: Stream, took_s: float) -> float:
        """Seconds to wait after a packet that took so long."""
        known = stream.device
        wait_s = known.decoding.take(took_s, self._clock())
        return self._slow(known, wait_s, "sends packets that take long to decode")

    @contextmanager
    def question(self, stream: Stream) -> Iterator[None]:
        """A question is open. Raises ``LimitExceeded`` where its device has too many."""
        known, most = stream.device, self._quota.questions
        if known.questions >= most:
            raise LimitExceeded(
                f"{known.questions} questions of device {known.name} are open, the limit is {most}"
            )
        known.questions += 1
        try:
            yield
        finally:
            known.questions -= 1

    def _slow(self, known: Device, wait_s: float, what: str) -> float:
        if wait_s:
            if not known.slowed:
                log.warning("device %s %s and is slowed", known.name, what)
            known.slowed += 1
            self.slowed += 1
        return wait_s

    def _going(self, known: Device, entered: Stream) -> dict[Stream, str]:
        """Streams that a new one displaces, and why."""
        quota, going = self._quota, dict[Stream, str]()
        same = [other for other in known.streams if other.cameras & entered.cameras]
        for among, most, what in (
            (same, quota.streams_per_camera, "of this camera"),
            (known.streams, quota.streams, "of this device"),
        ):
            left = [stream for stream in among if stream not in going]
            for oldest in left[: max(len(left) + 1 - most, 0)]:
                going[oldest] = f"a newer stream {what} came, and {most} at once is the limit"
        return going

    def _count(self, known: Device) -> None:
        self._streams.hold(known.name, len(known.streams))
        self._cameras.hold(known.name, known.cameras(known.streams))

    def _new(self, name: str) -> Device:
        quota, now_s = self._quota, self._clock()
        return Device(
            name,
            messages=Bucket(quota.messages_per_s, now_s),
            bytes=Bucket(quota.bytes_per_s, now_s),
            decoding=Bucket(quota.decoding, now_s),
            storing=asyncio.Semaphore(quota.storing),
        )

    def _forget(self) -> None:
        """Devices that left and whose buckets are full: a new entry would be the same."""
        now_s = self._clock()
        for name in [
            name
            for name, known in self._devices.items()
            if not known.streams
            and all(b.full(now_s) for b in (known.messages, known.bytes, known.decoding))
        ]:
            del self._devices[name]
