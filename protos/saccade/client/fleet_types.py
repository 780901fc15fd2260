"""What applications read about a fleet of edges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from saccade.answer_probability import mean_and_least, probability_of
from saccade.types import NS_PER_MS, utc
from saccade.v1 import fleet_pb2 as pb


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera as the cloud knows it. Counters count since the cloud started; ``captured_ns``
    is the newest frame's Unix time by its edge's clock, 0 where none has come.

    ``age_s``: how old the newest frame was when the cloud was asked, None where none has come;
    ``clock_ahead_s``: by how much it lay in the future when it came. See `saccade.types.Answer`.
    """

    device: str
    name: str
    connected: bool
    sequence: int
    captured_ns: int
    frames: int
    bytes: int
    damaged_layers: int = 0
    age_s: float | None = None
    clock_ahead_s: float = 0.0

    @property
    def captured(self) -> datetime | None:
        """``captured_ns`` as a time in UTC."""
        return utc(self.captured_ns) if self.captured_ns else None

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
            age_s=camera.last_age_ms / 1e3 if camera.HasField("last_age_ms") else None,
            clock_ahead_s=camera.clock_ahead_ms / 1e3,
        )


@dataclass(frozen=True, slots=True)
class WatchedAnswer:
    """An answer that somebody, or a standing question, got about a camera's frame.

    ``captured_ns``: Unix time by the edge's clock; ``answered_ns``: by the cloud's, 0 where an
    older cloud does not say. ``probability`` and ``least_probability``: see
    `saccade.types.Probability`; None where an older cloud stored the answer.
    """

    device: str
    camera: str
    sequence: int
    captured_ns: int
    question: str
    text: str
    bytes_sent: int  # serialised size of the frame's packet
    answered_ns: int = 0
    probability: float | None = None
    least_probability: float | None = None

    @property
    def captured(self) -> datetime:
        """``captured_ns`` as a time in UTC."""
        return utc(self.captured_ns)

    @classmethod
    def of(cls, reply: pb.WatchReply) -> WatchedAnswer:
        """As it came from the wire."""
        probability, least = mean_and_least(probability_of(reply))
        return cls(
            device=reply.device,
            camera=reply.camera,
            sequence=reply.sequence,
            captured_ns=reply.captured_unix_ms * NS_PER_MS,
            question=reply.question,
            text=reply.answer,
            bytes_sent=reply.packet_bytes,
            answered_ns=reply.answered_unix_ms * NS_PER_MS,
            probability=probability,
            least_probability=least,
        )
