"""What the cloud has at hand of each camera: the contract of a frame store, and its types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from saccade.types import Timing
from saccade.v1 import vision_pb2

# Of a frame in memory beside its packet and its hello: measured with CPython 3.11, 64 bits.
FRAME_BYTES = 1536


@dataclass(frozen=True, slots=True)
class CodedTokens:
    """A frame's tokens as they came: of a serialised packet that was decoded once, what decoding
    used, and so can again. ``hello`` is its session's; ``damaged`` names layers that were left out.

    Most frames are never asked about. Decoded, one takes ten kilobytes and fifteen objects; those
    of a thousand cameras would hold the interpreter up for 0.2 s whenever it looks for cycles.
    """

    packet: bytes
    hello: vision_pb2.Hello
    sequence: int
    camera: str
    captured_ns: int
    damaged: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """A checked packet. ``timing``: its stages so far. Its identity is (device, boot, sequence)."""

    device: str
    boot: int
    tokens: CodedTokens
    packet_bytes: int  # of the FramePacket as it came
    received_ns: int  # Unix time
    timing: Timing

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.device, self.boot, self.tokens.sequence

    @property
    def seen_ns(self) -> int:
        """When it was captured, as far as two clocks can tell: nothing is captured after it came.

        An edge's clock that runs ahead, or a recording that is read faster than it was filmed,
        says so; such a frame would otherwise outrank all later ones until that time has come.
        """
        return min(self.tokens.captured_ns, self.received_ns)

    @property
    def clock_ahead_ns(self) -> int:
        """By how much its capture lay in the future when it came; 0 where it did not."""
        return max(self.tokens.captured_ns - self.received_ns, 0)

    def age_ns(self, now_ns: int) -> int:
        """How old it is at a Unix time of the cloud's clock; never negative."""
        return max(now_ns - self.seen_ns, 0)

    @property
    def held_bytes(self) -> int:
        """Memory that it takes, about. A hello is counted with each frame that refers to it: a
        device could say hello anew for every frame.
        """
        return FRAME_BYTES + len(self.tokens.packet) + self.tokens.hello.ByteSize()


@dataclass(frozen=True, slots=True)
class CameraState:
    """A camera as applications see it. Counters count since the cloud started."""

    device: str
    name: str
    connected: bool
    last_sequence: int
    last_captured_ns: int
    frames: int
    bytes: int
    damaged_layers: int = 0  # dropped, where what came before them was used

    @property
    def path(self) -> str:
        return f"{self.device}/{self.name}"


class FrameStore(Protocol):
    """Bounded, and lost when the cloud ends: what lasts is in ``store``. Used from one event loop;
    methods return at once.
    """

    def connect(self, device: str, cameras: Sequence[str]) -> None:
        """A session of ``device`` begins. Raises ``LimitExceeded`` for too many cameras."""
        ...

    def disconnect(self, device: str, cameras: Sequence[str]) -> None:
        """A session that connected the same ends."""
        ...

    def connected(self, device: str, camera: str) -> bool:
        """Whether a session of that camera is open."""
        ...

    def put(self, frame: StoredFrame) -> bool:
        """Keep ``frame`` of a connected camera.

        False when its identity is here already: then nothing changes, counters included.
        """
        ...

    def get(self, device: str, boot: int, sequence: int) -> StoredFrame | None:
        """The frame with that identity; None when it never came, or is too old."""
        ...

    def newest(self, device: str, camera: str) -> StoredFrame | None:
        """The frame of that camera that was captured last; None when there is none."""
        ...

    def cameras(self) -> list[CameraState]:
        """Every camera, by device and name."""
        ...
