"""What applications read about a fleet of edges."""

from __future__ import annotations

from dataclasses import dataclass

from saccade.v1 import fleet_pb2 as pb

NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera as the cloud knows it. Counters count since the cloud started; ``captured_ns``
    is the newest frame's Unix time, 0 where none has come.
    """

    device: str
    name: str
    connected: bool
    sequence: int
    captured_ns: int
    frames: int
    bytes: int
    damaged_layers: int = 0

    @property
    def path(self) -> str:
        """What `Vision.ask_camera` takes wherever the name alone is not unique."""
        return f"{self.device}/{self.name}"

    @classmethod
    def of(cls, camera: pb.Camera) -> Camera:
        """As it came from the wire."""
        return cls(
            device=camera.device,
            name=camera.name,
            connected=camera.connected,
            sequence=camera.last_sequence,
            captured_ns=camera.last_captured_unix_ms * NS_PER_MS,
            frames=camera.frames,
            damaged_layers=camera.damaged_layers,
            bytes=camera.bytes,
        )


@dataclass(frozen=True, slots=True)
class WatchedAnswer:
    """An answer that somebody, or a standing question, got about a camera's frame."""

    device: str
    camera: str
    sequence: int
    captured_ns: int
    question: str
    text: str
    bytes_sent: int  # serialised size of the frame's packet

    @classmethod
    def of(cls, reply: pb.WatchReply) -> WatchedAnswer:
        """As it came from the wire."""
        return cls(
            device=reply.device,
            camera=reply.camera,
            sequence=reply.sequence,
            captured_ns=reply.captured_unix_ms * NS_PER_MS,
            question=reply.question,
            text=reply.answer,
            bytes_sent=reply.packet_bytes,
        )
