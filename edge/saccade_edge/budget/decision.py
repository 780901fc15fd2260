"""What a budget decides about a frame, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from saccade.manifest import OperatingPoint

# What kept a frame from a better point, or from the link:
#   best        nothing: it is the bundle's best point
#   max_point   the user, or the bundle: from this point on, more bytes hardly bring agreement
#   fixed       the policy has one point
#   start       nothing is known of the link yet, or it has just come back
#   probe       the link has room for more, and the policy goes up one step at a time; or the age
#               gate is shut, and this frame asks whether the link is back
#   link        what the link carries until the next frame, less what it still has to carry
#   cloud       the cloud's own bound
#   cap         the camera's bytes of the day
#   age         the oldest packet has not arrived within the deadline
#   connection  there is none
Bound = Literal[
    "best", "max_point", "fixed", "start", "probe", "link", "cloud", "cap", "age", "connection"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """``live``: send now; otherwise the frame goes to the spool, or is not sent at all. ``held``:
    the link stands still, or is not there, and once it is back the frame may go, if not late.

    ``number``: index of ``point`` in the bundle's points, the way to code the frame in either
    case. ``reason``: one sentence for people. The numbers behind it: ``rate_bytes_per_s``, what the
    link is expected to carry, None where nothing is known; ``backlog_bytes``, what it still has
    to carry; ``room_bytes``, what it has left for this frame, negative when it is behind;
    ``wire_bytes``, what the frame should cost, headers included; ``oldest_s``, the age of the
    oldest packet that is not acknowledged, 0 where there is none.
    """

    live: bool
    camera: str
    number: int
    point: OperatingPoint
    bound: Bound
    reason: str
    policy: str
    rate_bytes_per_s: float | None = None
    backlog_bytes: float = 0.0
    room_bytes: float | None = None
    wire_bytes: float = 0.0
    oldest_s: float = 0.0

    @property
    def held(self) -> bool:
        return self.bound in ("age", "connection")
