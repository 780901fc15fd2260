"""What the uplink tells: one frozen dataclass for each thing that can happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saccade.errors import SaccadeError
from saccade.types import Probability, Timing


@dataclass(frozen=True, slots=True)
class Connected:
    """The cloud welcomed this edge; ``resent`` messages are sent again on the new stream,
    ``backlog`` packets wait in the spool.
    """

    cloud: str
    resent: int
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """No connection, or it broke; the next try is in ``retry_in_s`` seconds."""

    error: SaccadeError
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class PacketSent:
    """A packet goes onto the stream, perhaps again. ``packet_bytes``: its serialised size;
    ``live``: it does not come from the backlog; ``point``: of a live one, as it was handed over;
    ``size``: of its frame, (height, width) in pixels; ``captured_ns``: Unix time, 0: unknown.
    """

    sequence: int
    packet_bytes: int
    live: bool
    point: int | None = None
    size: tuple[int, int] = (0, 0)
    captured_ns: int = 0


@dataclass(frozen=True, slots=True)
class PacketDeferred:
    """A packet is not sent now. It waits in the spool, or, where that takes nothing, in memory
    (not ``on_disk``); it is told once, or twice where it first waits for the link and is then late.
    """

    sequence: int
    on_disk: bool
    late: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A packet arrived. ``packet_bytes``: its serialised size, protobuf included.

    ``round_trip_ms``: from handing it to gRPC to its acknowledgement; ``received_unix_ms``: when
    the cloud read it, by its own clock; ``live``: it did not come from the backlog.
    """

    sequence: int
    packet_bytes: int
    stored: bool
    round_trip_ms: float
    received_unix_ms: int
    live: bool
    name: str = ""  # the frame's, where it has one


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """Some more text of an answer. Pieces start anew when the connection is lost."""

    question_id: int
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer; ``timing``: the cloud's stages. ``camera``, ``packet_bytes`` and
    ``captured_ns`` (Unix time) are those of the packet, which may be an earlier run's.
    """

    question_id: int
    sequence: int
    question: str
    text: str
    finish: Literal["stop", "length"]
    timing: Timing
    camera: str
    packet_bytes: int
    captured_ns: int
    probability: Probability | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The cloud refused a frame's packet, or the ``question`` about it; it is not sent again."""

    error: SaccadeError
    sequence: int
    question: str = ""
    name: str = ""  # the frame's, where it has one


@dataclass(frozen=True, slots=True)
class CloudBudget:
    """The cloud's bound on frames that questions are asked about, from its load; 0: no bound."""

    frames_per_minute: int
    reason: str


UplinkEvent = (
    Connected
    | ConnectionLost
    | PacketSent
    | PacketDeferred
    | Acknowledged
    | AnswerPiece
    | Answered
    | Refused
    | CloudBudget
)
