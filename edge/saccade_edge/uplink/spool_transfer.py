"""Between memory and spool: what leaves the one for the other, and how a packet ends.

- A packet that is late falls behind: it leaves the memory and comes back from the spool, page by
  page, when the link is idle.
- What the disk does not take falls behind in memory, and is tried on the disk again. What does not
  fit there any more is counted by the disk's fault.
- Each packet ends in one counter of the spool.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from google.protobuf.message import DecodeError

from saccade.errors import LimitExceeded
from saccade_edge.spool import Entry, Fate, Spool, refused
from saccade_edge.uplink.packet_queues import MOST_IN_MEMORY, Queues, too_much
from saccade_edge.uplink.queued_packet import QueuedPacket

PAGE_PACKETS = 32
PAGE_BYTES = 1 << 18


class SpoolTransfer:
    """``bounded``: packets come whether there is room or not. Without a spool nothing is kept.
    ``late`` hears of every live packet that falls behind.
    """

    def __init__(
        self,
        queues: Queues,
        spool: Spool | None,
        *,
        bounded: bool,
        late: Callable[[QueuedPacket], None] = lambda queued: None,
    ) -> None:
        self._queues = queues
        self._spool = spool
        self._bounded = bounded
        self._late = late

    @property
    def waiting(self) -> int:
        """Packets on disk."""
        return self._spool.waiting if self._spool else 0

    async def put(self, queued: QueuedPacket, *, sending: bool) -> None:
        """To the disk, where there is one. ``sending``: it may be sent once it is there."""
        if self._spool is not None and queued.entry is not None:
            queued.disk_fault = await self._spool.put(queued.entry, sending=sending)

    def fall_behind(self, queued: QueuedPacket) -> None:
        """It is not for now any more."""
        if queued.live:
            self._late(queued)
        queued.live = False
        if queued.on_disk:
            self.forget(queued)
        elif queued not in self._queues.behind:
            self._queues.behind.append(queued)
            self.make_room()

    def late_fall_behind(self) -> None:
        """All that were not sent within their deadline."""
        now_s = time.monotonic()
        for queued in [p for p in self._queues.live if p.deadline_s < now_s]:
            self._queues.live.remove(queued)
            self.fall_behind(queued)

    def make_room(self) -> None:
        """Memory is bounded: the oldest live packet falls behind, and of those
        that no disk takes the oldest is lost.
        """
        if not self._bounded:
            return
        while too_much(self._queues.live):
            self.fall_behind(self._queues.live.popleft())
        only_here = deque(p for p in self._queues.behind if p.disk_fault is not None)
        while too_much(only_here):
            lost = only_here.popleft()
            self._lose(lost, lost.disk_fault or Fate.IO_ERROR)

    def end(self, queued: QueuedPacket, counter: str) -> None:
        """A packet ended; its counter says how."""
        self._queues.remove(queued)
        if self._spool is None:
            return
        if queued.on_disk:
            self._spool.settle(queued.sequence, counter)
        else:
            self._spool.count(counter)

    def forget(self, queued: QueuedPacket) -> None:
        """A packet that is on disk leaves the memory."""
        self._queues.remove(queued)
        if self._spool is not None:
            self._spool.release(queued.sequence)

    def abandon(self) -> None:
        """The end: what is in memory alone is lost, and counted."""
        for queued in list(self._queues.packets.values()):
            if queued.disk_fault is not None:
                self._lose(queued, queued.disk_fault)

    def stored_already(self, sequence: int) -> None:
        """The cloud has a packet that is not in memory."""
        if self._spool is not None:
            self._spool.settle(sequence, Fate.DELIVERED.value, unasked_only=True)

    def wants_page(self) -> bool:
        """Whether there is more on disk, and room for it here."""
        queues = self._queues
        return (
            len(queues.behind) < PAGE_PACKETS // 2
            and len(queues.packets) < 4 * MOST_IN_MEMORY
            and self.waiting > queues.on_disk
        )

    async def page(self) -> list[Entry]:
        """The next of the backlog; the spool has noted that they may be sent."""
        return [] if self._spool is None else await self._spool.page(PAGE_PACKETS, PAGE_BYTES)

    def fetched(self, entry: Entry, most_bytes: int) -> None:
        """An entry of a page comes to memory, or ends where it can never be sent."""
        if self._spool is None:
            return
        try:
            queued = QueuedPacket.of(entry)
        except DecodeError:
            self._spool.settle(entry.sequence, Fate.DAMAGED.value)
            return
        if queued.size > most_bytes:  # the cloud would end the stream, ever again
            self._spool.settle(entry.sequence, refused(LimitExceeded.code))
            return
        self._queues.add(queued)
        self._queues.behind.append(queued)

    async def rescue(self) -> None:
        """Bring to the disk what it did not take before, unless it is still in trouble."""
        spool, packets = self._spool, self._queues.packets
        if spool is None or spool.trouble is not None:
            return
        for queued in [p for p in packets.values() if p.disk_fault is not None]:
            if queued.entry is None or queued.sequence not in packets:
                continue
            writing = asyncio.ensure_future(spool.put(queued.entry, sending=True, again=True))
            try:
                await asyncio.shield(writing)
            finally:
                # Also where we are cancelled: a packet that came to the disk must not be counted
                # as one that only memory had.
                await asyncio.wait({writing})
                queued.disk_fault = writing.result()
                if queued.on_disk and queued.sequence not in packets:
                    spool.forget(queued.sequence)  # it ended, and was counted, meanwhile
            if queued.disk_fault is not None:
                return

    def _lose(self, queued: QueuedPacket, disk_fault: Fate) -> None:
        """Nobody has it any more; the cloud may, and only answers are missing."""
        self.end(queued, (Fate.DELIVERED if queued.settled else disk_fault).value)
