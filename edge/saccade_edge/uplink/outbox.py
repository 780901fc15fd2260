"""What the edge has sent or has yet to send, until the cloud has settled it.

Rules:

- Live packets go first: the newest of a camera, the oldest of a recording. At most ``packets`` and
  ``bytes`` of them are unacknowledged at a time and ``questions`` open.
- A recording waits while there is no stream or no room: it can be read again. So does a camera
  without a spool: nothing is added while there is no stream, a frame that waits for one is old when
  it goes. With a spool a camera never waits.
- With a spool a packet is on disk before it is sent, and its row goes when the cloud has stored it
  *and* its questions are answered. One that is not sent within its deadline falls behind, see
  `spool_transfer`.
- A packet that is held was captured while the link stood still. If that is over before the packet's
  deadline, it goes like any other live one.
- That a packet may be sent is on disk before it is, too. Where the cloud knows a packet that the
  spool does not know as sent, the spool was rolled back.
- The backlog goes when nothing live waits and little is unacknowledged, paced, a few at a time.
- On a new stream everything that is live is sent again; the cloud knows a packet by its identity,
  so receiving it twice changes nothing. A new stream knows nothing of the old one's packets, so an
  open question needs its packet sent again.
- The cloud is asked about packets that were sent and not acknowledged; those that it has stored are
  settled and not sent again, unless questions about them are open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Sequence

from saccade.v1 import vision_pb2
from saccade_edge.spool import Fate, Spool, refused
from saccade_edge.uplink.backlog_pace import BacklogPace
from saccade_edge.uplink.in_flight import InFlight
from saccade_edge.uplink.link_state import Bounds, LinkState, Outstanding
from saccade_edge.uplink.packet_queues import Queues
from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket
from saccade_edge.uplink.spool_transfer import SpoolTransfer

UNSTORED_PAUSE_S = 30.0  # a cloud whose store fails is not asked all the time


class Outbox:
    """Belongs to one event loop. ``on_sent`` hears of every packet that is given out to be sent,
    ``on_deferred`` of each that is not for now, and whether it is late.
    """

    def __init__(
        self,
        bounds: Bounds,
        spool: Spool | None = None,
        on_sent: Callable[[QueuedPacket], None] = lambda queued: None,
        on_deferred: Callable[[QueuedPacket, bool], None] = lambda queued, late: None,
    ) -> None:
        self._bounds = bounds
        self._spool = spool
        self._on_sent = on_sent
        self._on_deferred = on_deferred
        self._waits = spool is None or not bounds.live
        self._queues = Queues()
        self._spool_transfer = SpoolTransfer(
            self._queues,
            spool,
            bounded=not self._waits,
            late=lambda queued: on_deferred(queued, True),
        )
        self._in_flight = InFlight()
        self._marked_sent = 0  # packets up to this one may be sent: the spool has written it down
        self.pace = BacklogPace(bounds.backlog_bytes_per_s)
        self._streaming = False
        self._retired = False
        self._closed = False
        self._changed = asyncio.Condition()

    @property
    def unsettled(self) -> int:
        """Live packets that are not acknowledged."""
        return self._queues.unsettled

    @property
    def empty(self) -> bool:
        """Whether the cloud has all that was ever handed over, and has answered."""
        return not self._queues.packets and self._spool_transfer.waiting == 0

    @property
    def settled(self) -> bool:
        """Whether nothing that is in memory is open."""
        return not self._queues.packets

    @property
    def outstanding(self) -> Outstanding:
        """What the cloud owes for what has been sent."""
        queues = self._queues
        unsent = {queued.sequence for queued in (*queues.live, *queues.behind)}
        sent = [queued for queued in queues.packets.values() if queued.sequence not in unsent]
        return Outstanding(
            sum(not queued.settled for queued in sent),
            sum(len(queued.questions) for queued in sent),
        )

    @property
    def doubts(self) -> Sequence[int]:
        """What the cloud is to be asked about."""
        return self._in_flight.doubts

    def state(self) -> LinkState:
        """What whoever decides on the next frame wants to know."""
        return LinkState(
            streaming=self._streaming,
            unacknowledged=len(self._in_flight),
            unacknowledged_bytes=self._in_flight.bytes,
            unacknowledged_s=self._in_flight.oldest_s,
            waiting=len(self._queues.live),
            backlog=self._spool_transfer.waiting,
        )

    def bound(self, packets: int, questions: int, message_bytes: int = 0) -> None:
        """Tighten to what the cloud accepts; 0 does not bind."""
        self._bounds = self._bounds.within(packets, questions, message_bytes)

    async def room(self, questions: int) -> None:
        """Wait until a packet with so many questions can be added."""
        if self._waits:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(questions))

    async def add(self, queued: QueuedPacket) -> None:
        """Wait for room, keep a packet on disk if there is one, and queue it."""
        await self.room(len(queued.questions))
        sending = self._streaming
        await self._spool_transfer.put(queued, sending=sending)
        if sending:
            self._marked_sent = max(self._marked_sent, queued.sequence)
        async with self._changed:
            self._queues.add(queued)
            if queued.deadline_s < time.monotonic():
                self._spool_transfer.fall_behind(queued)
            else:
                self._queues.live.append(queued)
                if queued.held or not self._streaming:
                    self._on_deferred(queued, False)
                self._spool_transfer.make_room()
            self._changed.notify_all()

    async def next(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        """The next message to say, once this stream has room for it; None after ``close``."""
        message = await self._next(in_flight, open_questions)
        # One that was added while the stream began is not announced yet.
        if message is not None and message.packet.sequence > self._marked_sent:
            await self._mark_sent(message.packet.sequence)
        return message

    async def _next(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        async with self._changed:
            while not self._closed:
                if message := self._pick(in_flight, open_questions):
                    return message
                await self._changed.wait()
            return None

    async def _mark_sent(self, sequence: int) -> None:
        """Packets up to this one may be sent. A disk that fails is not waited for."""
        if self._spool is not None:
            await self._spool.mark_sent(sequence)
        self._marked_sent = max(self._marked_sent, sequence)

    async def drained(self) -> None:
        """Wait until the cloud owes nothing, or after ``retire`` nothing that it can still send."""
        async with self._changed:
            await self._changed.wait_for(self._is_drained)

    async def retire(self) -> None:
        """What is on disk stays there: only what has been sent, or is live, is waited for."""
        async with self._changed:
            self._retired = self._spool is not None
            for queued in [p for p in self._queues.behind if p.on_disk]:
                self._spool_transfer.forget(queued)
            self._changed.notify_all()

    async def close(self) -> None:
        """Nothing more is sent."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """The end: what is in memory alone is lost, and counted."""
        self._spool_transfer.abandon()

    async def settle(self, sequence: int, *, stored: bool = True) -> QueuedPacket | None:
        """The cloud acknowledged a packet. Without a spool there is nothing to try again from."""
        async with self._changed:
            self._in_flight.settled(sequence)
            if queued := self._queues.packets.get(sequence):
                queued.settled = stored or self._spool is None
                queued.unstored = not queued.settled
                self._review(queued)
            self._changed.notify_all()
            return queued

    async def refuse(self, sequence: int, code: str) -> list[OpenQuestion]:
        """The cloud refused a packet, and so the questions about it: those that were open."""
        async with self._changed:
            self._in_flight.settled(sequence)
            queued = self._queues.packets.get(sequence)
            if queued is not None:
                self._spool_transfer.end(queued, refused(code))
            self._changed.notify_all()
            return list(queued.questions.values()) if queued else []

    async def answered(self, question_id: int) -> tuple[OpenQuestion, QueuedPacket] | None:
        """The cloud answered or refused a question: the question, None if it is not here."""
        async with self._changed:
            answered = self._queues.answered(question_id)
            if answered is not None:
                self._review(answered[1])
                self._changed.notify_all()
            return answered

    async def rewind(self, stored: Collection[int]) -> int:
        """A new stream begins, and the cloud has ``stored`` of what was in doubt: queue anew all
        that is live and unsettled or still asked about. Returns how many messages are queued.
        """
        async with self._changed:
            self._in_flight.begin()
            for sequence in stored:
                self._stored_already(sequence)
            for queued in list(self._queues.packets.values()):
                self._requeue(queued)
            messages = self._queues.send_all_again()
            newest = max((queued.sequence for queued in self._queues.live), default=0)
        await self._mark_sent(newest)
        async with self._changed:
            self._streaming = True
            self._changed.notify_all()
        return messages

    def suspend(self) -> None:
        """The stream is gone."""
        self._streaming = False
        self._in_flight.break_off()

    def renew(self) -> None:
        """A new identity: the cloud knows nothing under it."""
        self._in_flight.forget_doubts()
        self._marked_sent = 0

    def stored_late(self, sequence: int) -> bool:
        """A packet is on disk after all; whether it is still in memory."""
        queued = self._queues.packets.get(sequence)
        if queued is not None:
            queued.disk_fault = None
        return queued is not None

    async def tend(self) -> None:
        """With a spool, several times a second: age, retries, the backlog's next page."""
        async with self._changed:
            self._spool_transfer.late_fall_behind()
            self._changed.notify_all()
        await self._spool_transfer.rescue()
        if self._wants_page():
            entries = await self._spool_transfer.page()
            self._marked_sent = max(self._marked_sent, *(entry.sequence for entry in entries), 0)
            async with self._changed:
                for entry in entries:
                    self._spool_transfer.fetched(entry, self._bounds.message_bytes)
                self._changed.notify_all()

    def _wants_page(self) -> bool:
        return (
            self._streaming
            and not (self._retired or self._closed)
            and self.pace.allows()
            and self._spool_transfer.wants_page()
        )

    def _pick(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        bounds, queues = self._bounds, self._queues
        if queues.asking:
            if len(open_questions) >= bounds.questions:
                return None
            return vision_pb2.EdgeMessage(question=queues.asking.popleft().message())
        if len(in_flight) >= bounds.packets:
            return None
        queued = self._pick_live() if queues.live else self._pick_behind()
        if queued is None:
            return None
        self._in_flight.sent(queued.sequence, queued.size)
        queues.sent(queued)
        self._on_sent(queued)
        return vision_pb2.EdgeMessage(packet=queued.packet)

    def _pick_live(self) -> QueuedPacket | None:
        bounds, in_flight = self._bounds, self._in_flight
        still = in_flight.oldest_s > bounds.still_s
        queued = self._queues.next_live(newest=bounds.live, still=still)
        if queued is None or not in_flight.fits(queued.size, bounds.bytes):
            return None
        self._queues.live.remove(queued)
        return queued

    def _pick_behind(self) -> QueuedPacket | None:
        """Only while the link is idle."""
        bounds, queues = self._bounds, self._queues
        if not queues.behind or not self.pace.allows() or queues.owing >= bounds.backlog_packets:
            return None
        if not self._in_flight.fits(queues.behind[0].size, bounds.backlog_bytes):
            return None
        queued = queues.behind.popleft()
        self.pace.went(queued.size)
        return queued

    def _has_room(self, questions: int) -> bool:
        # More questions than the bound still go, one frame at a time.
        bounds, asked = self._bounds, self._queues.asked
        fits = not asked or len(asked) + questions <= bounds.questions
        return self._streaming and fits and self.unsettled < bounds.packets

    def _is_drained(self) -> bool:
        if not self._retired:
            return self.empty
        return not self._streaming or len(self._queues.packets) == len(self._queues.behind)

    def _stored_already(self, sequence: int) -> None:
        self._in_flight.settled(sequence)
        if queued := self._queues.packets.get(sequence):
            queued.settled = True
            self._review(queued)
        else:
            self._spool_transfer.stored_already(sequence)

    def _requeue(self, queued: QueuedPacket) -> None:
        """On a new stream: what is late waits for the link to be idle."""
        queued.unstored = False
        if queued.deadline_s < time.monotonic():
            self._spool_transfer.fall_behind(queued)

    def _review(self, queued: QueuedPacket) -> None:
        """Once its questions are answered, a packet is done, or has to be sent again."""
        if queued.questions:
            return
        if queued.settled:
            self._spool_transfer.end(queued, Fate.DELIVERED.value)
        elif queued.unstored:
            self.pace.pause(UNSTORED_PAUSE_S)
            queued.unstored = False
            self._spool_transfer.fall_behind(queued)
