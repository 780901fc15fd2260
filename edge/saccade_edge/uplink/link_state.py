"""How much may be under way at a time, and what is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from saccade.limits import MOST_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be unacknowledged or open at a time: it bounds how old a frame can become in
    memory. ``live``: the packets are a camera's. The backlog may have so much of the link:
    ``backlog_bytes`` and ``backlog_packets`` at a time.

    ``still_s``: the link stands still while a packet has been unacknowledged for longer.
    """

    packets: int = 8
    questions: int = 32
    message_bytes: int = MOST_MESSAGE_BYTES
    bytes: int = 1 << 18
    backlog_packets: int = 4
    backlog_bytes: int = 8192
    backlog_bytes_per_s: float = 65536.0
    still_s: float = math.inf
    live: bool = False

    def within(self, packets: int, questions: int, message_bytes: int) -> Bounds:
        """Tightened to what the cloud accepts; 0 does not bind."""
        return replace(
            self,
            packets=min(self.packets, packets or self.packets),
            questions=min(self.questions, questions or self.questions),
            message_bytes=min(self.message_bytes, message_bytes or self.message_bytes),
        )


@dataclass(frozen=True, slots=True)
class LinkState:
    """``unacknowledged_s``: age of the oldest packet that was sent and not acknowledged, 0 where
    there is none; ``waiting``: live packets that were not sent; ``backlog``: packets on disk.
    """

    streaming: bool
    unacknowledged: int
    unacknowledged_bytes: int
    unacknowledged_s: float
    waiting: int
    backlog: int


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What the cloud owes for what was sent: packets without an acknowledgement, open questions."""

    packets: int = 0
    questions: int = 0
