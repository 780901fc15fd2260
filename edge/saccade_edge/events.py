"""What a watch tells, for a log, a table or a program: the uplink's events and these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from saccade.nouns import Answer, Frame
from saccade_edge.budget import Decision
from saccade_edge.pipeline import Look
from saccade_edge.spool import SpoolEvent, SpoolReport
from saccade_edge.uplink.events import UplinkEvent


@dataclass(frozen=True, slots=True)
class FrameSkipped:
    """The gate found nothing new."""

    look: Look


@dataclass(frozen=True, slots=True)
class FrameSent:
    """A frame's packet went to the uplink; ``packet_bytes`` as serialised, protobuf included.

    ``decision``: its budget's, None where the user's settings say how every frame goes.
    """

    look: Look
    packet_bytes: int
    decision: Decision | None = None


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


@dataclass(frozen=True, slots=True)
class Summary:
    """A watch's end. ``complete``: the cloud settled all that was sent, in this run and before.

    ``answers`` includes those to questions of earlier runs. ``spool``: what is left in the spool
    and what became of the rest, None without one. ``withheld``: frames that the budget kept back,
    by what bound them. ``not_in_frame``: those of ``refused`` that ask about what the frame does
    not show; nothing failed there.
    """

    frames: int
    sent: int
    answers: int
    refused: int
    packet_bytes: int
    complete: bool
    spool: SpoolReport | None = None
    withheld: Mapping[str, int] = field(default_factory=dict)
    not_in_frame: int = 0


Event = (
    UplinkEvent | SpoolEvent | FrameSkipped | FrameSent | FrameWithheld | FrameAnswered | Summary
)
