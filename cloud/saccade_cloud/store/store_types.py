"""What a store holds: packets with the session that gives them meaning, and observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saccade.types import Probability
from saccade.v1 import vision_pb2 as pb


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a hello said and a packet needs to be understood later.

    ``boot`` and ``epoch_unix_ms`` are unsigned 64 bits; ``token_digest`` has 32 bytes.
    """

    device: str
    boot: int
    epoch_unix_ms: int
    cameras: tuple[str, ...]
    token_digest: bytes
    software: str

    @classmethod
    def of(cls, hello: pb.Hello) -> SessionFacts:
        """Of a hello that was accepted."""
        return cls(
            device=hello.device,
            boot=hello.boot,
            epoch_unix_ms=hello.epoch_unix_ms,
            cameras=tuple(hello.cameras),
            token_digest=hello.token_digest,
            software=hello.software,
        )

    def hello(self) -> pb.Hello:
        """What the edge said, as far as packets need it."""
        return pb.Hello(
            device=self.device,
            boot=self.boot,
            epoch_unix_ms=self.epoch_unix_ms,
            cameras=self.cameras,
            token_digest=self.token_digest,
            software=self.software,
        )


@dataclass(frozen=True, slots=True)
class PacketRecord:
    """A packet as it came. Its identity is (device, boot, sequence).

    ``camera`` and ``captured_ns`` (Unix time) are what the packet says, read once; ``payload`` is
    the serialised FramePacket. Two records have the same content when these three agree.
    """

    session: SessionFacts
    sequence: int
    camera: str
    captured_ns: int
    received_ns: int  # Unix time of the cloud's clock
    payload: bytes

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.session.device, self.session.boot, self.sequence

    @property
    def content(self) -> tuple[str, int, bytes]:
        return self.camera, self.captured_ns, self.payload


@dataclass(frozen=True, slots=True)
class Observation:
    """An answer about a camera's frame, whoever asked: a standing question or an application.

    It is known by the frame's identity and its own: see `saccade.turns.Question.identity`.
    ``question``: what the user said last.
    """

    device: str
    camera: str
    boot: int
    sequence: int
    captured_ns: int  # Unix time
    identity: bytes
    question: str
    answer: str
    finish: str  # "stop" or "length"
    packet_bytes: int
    answered_ns: int  # Unix time of the cloud's clock
    probability: Probability | None = None  # None: stored before it was kept


@dataclass(frozen=True, slots=True)
class CameraTotals:
    """One camera's share of a store. Times are captures, Unix ns; 0 where there is no packet."""

    device: str
    camera: str
    packets: int
    payload_bytes: int
    observations: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What a store holds. ``used_bytes``: of the database; ``conflicts``: packets that came under
    an identity which another packet had already.
    """

    used_bytes: int
    conflicts: int
    cameras: Sequence[CameraTotals]
