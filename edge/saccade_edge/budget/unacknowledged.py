"""The packets that were sent and are not acknowledged.

At most ``MOST_PACKETS`` are remembered: beyond that the oldest is forgotten, the next oldest is as
good a witness that the link stands still.
"""

from __future__ import annotations

from dataclasses import dataclass

MOST_PACKETS = 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """``packet_bytes``: serialised; ``wire_bytes``: with the headers around it; ``number``: of its
    operating point, None where that is unknown.
    """

    sequence: int
    packet_bytes: int
    wire_bytes: int
    sent_s: float
    number: int | None


class Unacknowledged:
    """In the order in which they were sent."""

    def __init__(self) -> None:
        self._packets: dict[int, Sent] = {}
        self.wire_bytes = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, packet: Sent) -> None:
        """Sent, perhaps again: then the first time is forgotten."""
        self.take(packet.sequence)
        while len(self._packets) >= MOST_PACKETS:
            self.take(next(iter(self._packets)))
        self._packets[packet.sequence] = packet
        self.wire_bytes += packet.wire_bytes

    def take(self, sequence: int) -> Sent | None:
        """Settled: the packet, None where it is not known."""
        packet = self._packets.pop(sequence, None)
        if packet is not None:
            self.wire_bytes -= packet.wire_bytes
        return packet

    def forget_before(self, sent_s: float) -> None:
        """Packets that were sent earlier; the link has passed them."""
        while (oldest := self.oldest()) is not None and oldest.sent_s < sent_s:
            self.take(oldest.sequence)

    def clear(self) -> None:
        self._packets.clear()
        self.wire_bytes = 0

    def oldest(self) -> Sent | None:
        return next(iter(self._packets.values()), None)

    def newest(self) -> Sent | None:
        return next(reversed(self._packets.values()), None)

    def bytes_before(self, sent_s: float) -> int:
        """Wire bytes of what was sent at that time or earlier."""
        return sum(p.wire_bytes for p in self._packets.values() if p.sent_s <= sent_s)
