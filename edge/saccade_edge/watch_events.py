"""What a watch tells, for a log, a table or a program: the uplink's events and these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from saccade.errors import SaccadeError
from saccade.types import Answer, Frame
from saccade_edge.budget import Decision
from saccade_edge.pipeline import FrameResult
from saccade_edge.spool import SpoolEvent, SpoolReport
from saccade_edge.uplink.uplink_events import UplinkEvent


@dataclass(frozen=True, slots=True)
class FrameSkipped:
    """The gate found nothing new."""

    result: FrameResult


@dataclass(frozen=True, slots=True)
class FrameSent:
    """A frame's packet went onto the stream to the cloud, in time; ``packet_bytes`` as serialised,
    protobuf included. Told once for each frame, however often it is sent again.

    ``decision``: its budget's, None where the user's settings say how every frame goes. Of a frame
    that was spooled first, the picture in ``result`` is black.
    """

    result: FrameResult
    packet_bytes: int
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class LateFrameSent:
    """A packet that had waited in the spool, in this run or since an earlier one, went onto the
    stream. ``size``: (height, width) in pixels; ``name``: the frame's, where this run knows it.
    """

    sequence: int
    captured_ns: int
    size: tuple[int, int]
    packet_bytes: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class FrameSpooled:
    """A frame was not sent when it was captured: its packet waits, and ``reason`` says why."""

    result: FrameResult
    packet_bytes: int
    decision: Decision | None
    reason: str


@dataclass(frozen=True, slots=True)
class FrameFailed:
    """One frame could not be read, looked at or handed over. ``stage``: ``source``, one of the
    stages of ``Answer.timing``, or ``send``; ``name``: the frame's, where it has one.
    """

    sequence: int
    name: str
    stage: str
    error: SaccadeError


@dataclass(frozen=True, slots=True)
class FrameWithheld:
    """The budget kept a frame back, and there is nowhere to keep it: it is neither looked at nor
    sent, and counted under ``decision.bound``.
    """

    frame: Frame
    decision: Decision


@dataclass(frozen=True, slots=True)
class FrameAnswered:
    """A standing question was answered.

    The answer's timing holds the edge's stages, ``link`` (queues and network: all that neither
    end accounts for) and the cloud's stages; their sum is the time from frame to answer.
    """

    question: str
    answer: Answer
    late: bool = False  # the frame went to the cloud from the spool
    name: str = ""  # the frame's, where it has one


@dataclass(frozen=True, slots=True)
class Summary:
    """A watch's end. ``complete``: the cloud settled all that was sent, in this run and before.

    ``frames``: those that the source gave. ``sent``: those whose packet went to the cloud, each
    once, ``late`` of them from the spool, also for earlier runs; ``answers``, of which
    ``late_answers`` are about those. ``spool``: what is left in the spool and what became of the
    rest, None without one. ``withheld``: frames that the budget kept back, by what bound them;
    ``spooled``: frames that waited first; ``failed``: see `FrameFailed`; ``unsent``: frames that
    were looked at when the watch ended, and are lost. ``unacknowledged``: packets that were sent
    and that the cloud did not confirm; ``unanswered``: open questions about packets that were sent.
    ``not_in_frame``: those of ``refused`` that ask about what the frame does not show. Nothing
    failed there.
    """

    frames: int
    sent: int
    answers: int
    refused: int
    packet_bytes: int
    complete: bool
    spool: SpoolReport | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)
    late: int = 0
    late_answers: int = 0
    spooled: int = 0
    failed: int = 0
    unsent: int = 0
    unacknowledged: int = 0
    unanswered: int = 0
    not_in_frame: int = 0


Event = (
    UplinkEvent
    | SpoolEvent
    | FrameSkipped
    | FrameSent
    | LateFrameSent
    | FrameSpooled
    | FrameWithheld
    | FrameFailed
    | FrameAnswered
    | Summary
)
