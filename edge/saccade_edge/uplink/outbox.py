"""What the edge has said or has yet to say, until the cloud has settled it.

Rules:

- Live packets go first: the newest of a camera, the oldest of a recording. At most ``packets`` and
  ``bytes`` of them are unacknowledged at a time and ``questions`` open.
- A recording waits while there is no stream or no room: it can be read again. So does a camera
  without a spool: nothing is added while there is no stream, a frame that waits for one is old when
  it goes. With a spool a camera never waits.
- With a spool a packet is on disk before it is said, and its row goes when the cloud has stored it
  *and* its questions are answered. One that is not said within its deadline falls behind: it leaves
  the memory and comes back from the spool when the link is idle.
- That a packet may be said is on disk before it is, too. Where the cloud knows a packet that the
  spool does not know as said, the spool was rolled back.
- The backlog goes when nothing live waits and little is unacknowledged, paced, a few at a time.
- What the disk does not take goes from memory, falls behind there, and is tried on the disk again;
  what does not fit there any more is counted by the disk's fault.
- On a new stream everything that is live is said again; the cloud knows a packet by its identity,
  so hearing it twice changes nothing. A new stream knows nothing of the old one's packets, so an
  open question needs its packet said again.
- The cloud is asked about packets that were said and not acknowledged; those that it has stored are
  settled and not said again, unless questions about them are open.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from saccade.errors import LimitExceeded
from saccade.v1 import vision_pb2
from saccade_edge.spool import Entry, Fate, Spool, refused
from saccade_edge.uplink.pace import Pace
from saccade_edge.uplink.parcel import Parcel

PAGE_PACKETS = 32
PAGE_BYTES = 1 << 18
# Live packets that wait and packets that no disk takes: what memory they may have.
MOST_IN_MEMORY = 64
MOST_BYTES_IN_MEMORY = 4 << 20
MOST_DOUBTS = 1024  # sequences in a Hello, some 3 bytes each
UNSTORED_PAUSE_S = 30.0  # a cloud whose store fails is not asked all the time


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be unacknowledged or open at a time, see the rules; ``live``: the packets are a
    camera's.
    """

    packets: int = 8
    questions: int = 32
    message_bytes: int = 1 << 20
    bytes: int = 1 << 18
    backlog_packets: int = 4
    backlog_bytes: int = 8192
    backlog_bytes_per_s: float = 65536.0
    live: bool = False


@dataclass(frozen=True, slots=True)
class LinkState:
    """``unacknowledged_s``: age of the oldest packet that was said and not acknowledged, 0 where
    there is none; ``waiting``: live packets that were not said; ``backlog``: packets on disk.
    """

    streaming: bool
    unacknowledged: int
    unacknowledged_bytes: int
    unacknowledged_s: float
    waiting: int
    backlog: int


class Outbox:
    """Belongs to one event loop. ``said`` hears of every packet that is given out to be said."""

    def __init__(
        self,
        bounds: Bounds,
        spool: Spool | None = None,
        said: Callable[[Parcel], None] = lambda parcel: None,
    ) -> None:
        self._bounds = bounds
        self._spool = spool
        self._said = said
        self._parcels: dict[int, Parcel] = {}
        self._asked: dict[int, vision_pb2.Question] = {}  # open ones by id
        self._live: deque[Parcel] = deque()  # not said
        self._behind: deque[Parcel] = deque()  # likewise
        self._asking: deque[vision_pb2.Question] = deque()  # their packets have been said
        self._flying: dict[int, tuple[int, float]] = {}  # sequence -> bytes, monotonic time
        self._doubts: dict[int, None] = {}  # said on an earlier stream, not acknowledged; ordered
        self._announced = 0  # packets up to this one may be said: the spool has written it down
        self.pace = Pace(bounds.backlog_bytes_per_s)
        self._streaming = False
        self._retired = False
        self._closed = False
        self._changed = asyncio.Condition()

    @property
    def unsettled(self) -> int:
        """Live packets that are not acknowledged."""
        return sum(parcel.live and not parcel.settled for parcel in self._parcels.values())

    @property
    def empty(self) -> bool:
        """Whether the cloud has all that was ever handed over, and has answered."""
        return not self._parcels and (self._spool is None or self._spool.waiting == 0)

    @property
    def doubts(self) -> list[int]:
        """What the cloud is to be asked about."""
        return list(self._doubts)

    def state(self) -> LinkState:
        """What whoever decides on the next frame wants to know."""
        now_s = time.monotonic()
        return LinkState(
            streaming=self._streaming,
            unacknowledged=len(self._flying),
            unacknowledged_bytes=self._flying_bytes,
            unacknowledged_s=max(
                (now_s - said_s for _, said_s in self._flying.values()), default=0
            ),
            waiting=len(self._live),
            backlog=self._spool.waiting if self._spool else 0,
        )

    def bound(self, packets: int, questions: int, message_bytes: int = 0) -> None:
        """Tighten to what the cloud accepts; 0 does not bind."""
        bounds = self._bounds
        self._bounds = replace(
            bounds,
            packets=min(bounds.packets, packets or bounds.packets),
            questions=min(bounds.questions, questions or bounds.questions),
            message_bytes=min(bounds.message_bytes, message_bytes or bounds.message_bytes),
        )

    async def room(self, questions: int) -> None:
        """Wait until a packet with so many questions can be added."""
        if self._waits:
            async with self._changed:
                await self._changed.wait_for(lambda: self._has_room(questions))

    async def add(self, parcel: Parcel) -> None:
        """Wait for room, keep a packet on disk if there is one, and queue it."""
        await self.room(len(parcel.questions))
        if self._spool is not None and parcel.entry is not None:
            saying = self._streaming
            parcel.unkept = await self._spool.put(parcel.entry, saying=saying)
            if saying:
                self._announced = max(self._announced, parcel.sequence)
        async with self._changed:
            self._parcels[parcel.sequence] = parcel
            self._asked.update(parcel.questions)
            if parcel.deadline_s < time.monotonic():
                self._fall_behind(parcel)
            else:
                self._live.append(parcel)
                self._make_room()
            self._changed.notify_all()

    async def next(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        """The next message to say, once this stream has room for it; None after ``close``."""
        message = await self._next(in_flight, open_questions)
        # One that was added while the stream began is not announced yet.
        if message is not None and message.packet.sequence > self._announced:
            await self._announce(message.packet.sequence)
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

    async def _announce(self, sequence: int) -> None:
        """Packets up to this one may be said. A disk that fails is not waited for."""
        if self._spool is not None:
            await self._spool.saying(sequence)
        self._announced = max(self._announced, sequence)

    async def drained(self) -> None:
        """Wait until the cloud owes nothing, or after ``retire`` nothing that it can still send."""
        async with self._changed:
            await self._changed.wait_for(self._is_drained)

    async def retire(self) -> None:
        """What is on disk stays there: only what has been said, or is live, is waited for."""
        async with self._changed:
            self._retired = self._spool is not None
            for parcel in [p for p in self._behind if p.kept]:
                self._forget(parcel)
            self._changed.notify_all()

    async def close(self) -> None:
        """Nothing more is said."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """The end: what is in memory alone is lost, and counted."""
        for parcel in list(self._parcels.values()):
            if parcel.unkept is not None:
                self._lose(parcel, parcel.unkept)

    async def settle(self, sequence: int, *, stored: bool = True) -> Parcel | None:
        """The cloud acknowledged a packet. Without a spool there is nothing to try again from."""
        async with self._changed:
            self._flying.pop(sequence, None)
            self._doubts.pop(sequence, None)
            if parcel := self._parcels.get(sequence):
                parcel.settled = stored or self._spool is None
                parcel.unstored = not parcel.settled
                self._review(parcel)
            self._changed.notify_all()
            return parcel

    async def refuse(self, sequence: int, code: str) -> list[vision_pb2.Question]:
        """The cloud refused a packet, and so the questions about it: those that were open."""
        async with self._changed:
            self._flying.pop(sequence, None)
            self._doubts.pop(sequence, None)
            parcel = self._parcels.get(sequence)
            if parcel is not None:
                self._end(parcel, refused(code))
            self._changed.notify_all()
            return list(parcel.questions.values()) if parcel else []

    async def answered(self, question_id: int) -> tuple[vision_pb2.Question, Parcel] | None:
        """The cloud answered or refused a question: the question, None if it is not here."""
        async with self._changed:
            question = self._asked.pop(question_id, None)
            parcel = self._parcels.get(question.sequence) if question else None
            if question is None or parcel is None:
                return None
            del parcel.questions[question_id]
            self._review(parcel)
            self._changed.notify_all()
            return question, parcel

    async def rewind(self, stored: Collection[int]) -> int:
        """A new stream begins, and the cloud has ``stored`` of what was in doubt: queue anew all
        that is live and unsettled or still asked about. Returns how many messages are queued.
        """
        async with self._changed:
            self._flying.clear()
            self._asking.clear()
            for sequence in stored:
                self._stored_already(sequence)
            for parcel in list(self._parcels.values()):
                self._requeue(parcel)
            self._live = deque(p for p in self._parcels.values() if p.live)
            self._behind = deque(p for p in self._parcels.values() if not p.live)
            queued = sum(1 + len(parcel.questions) for parcel in self._live)
            newest = max((parcel.sequence for parcel in self._live), default=0)
        await self._announce(newest)
        async with self._changed:
            self._streaming = True
            self._changed.notify_all()
        return queued

    def suspend(self) -> None:
        """The stream is gone."""
        self._streaming = False
        self._doubts.update(dict.fromkeys(self._flying))
        for sequence in list(self._doubts)[:-MOST_DOUBTS]:
            del self._doubts[sequence]  # said once more for nothing
        self._flying.clear()

    def renew(self) -> None:
        """A new identity: the cloud knows nothing under it."""
        self._doubts.clear()
        self._announced = 0

    def kept_late(self, sequence: int) -> bool:
        """A packet is on disk after all; whether it is still in memory."""
        parcel = self._parcels.get(sequence)
        if parcel is not None:
            parcel.unkept = None
        return parcel is not None

    async def tend(self) -> None:
        """With a spool, several times a second: age, retries, the backlog's next page."""
        spool = self._spool
        if spool is None:
            return
        now_s = time.monotonic()
        async with self._changed:
            for parcel in [p for p in self._live if p.deadline_s < now_s]:
                self._live.remove(parcel)
                self._fall_behind(parcel)
            self._changed.notify_all()
        if spool.trouble is None:
            await self._rescue(spool)
        if self._wants_page(spool):
            entries = await spool.page(PAGE_PACKETS, PAGE_BYTES)
            self._announced = max(self._announced, *(entry.sequence for entry in entries), 0)
            async with self._changed:
                for entry in entries:
                    self._fetched(entry, spool)
                self._changed.notify_all()

    async def _rescue(self, spool: Spool) -> None:
        """Bring to the disk what it did not take before."""
        for parcel in [p for p in self._parcels.values() if p.unkept is not None]:
            if parcel.entry is None or parcel.sequence not in self._parcels:
                continue
            writing = asyncio.ensure_future(spool.put(parcel.entry, saying=True, again=True))
            try:
                await asyncio.shield(writing)
            finally:
                # Also where we are cancelled: a packet that came to the disk must not be counted
                # as one that only memory had.
                await asyncio.wait({writing})
                parcel.unkept = writing.result()
                if parcel.kept and parcel.sequence not in self._parcels:
                    spool.forget(parcel.sequence)  # it ended, and was counted, meanwhile
            if parcel.unkept is not None:
                return

    def _wants_page(self, spool: Spool) -> bool:
        here = len(self._parcels)
        return (
            self._streaming
            and not (self._retired or self._closed)
            and len(self._behind) < PAGE_PACKETS // 2
            and self.pace.allows()
            and spool.waiting > sum(parcel.kept for parcel in self._parcels.values())
            and here < 4 * MOST_IN_MEMORY
        )

    def _fetched(self, entry: Entry, spool: Spool) -> None:
        try:
            parcel = Parcel.of(entry)
        except DecodeError:
            spool.settle(entry.sequence, Fate.DAMAGED.value)
            return
        if parcel.size > self._bounds.message_bytes:  # the cloud would end the stream, ever again
            spool.settle(entry.sequence, refused(LimitExceeded.code))
            return
        self._parcels[parcel.sequence] = parcel
        self._asked.update(parcel.questions)
        self._behind.append(parcel)

    def _pick(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        bounds = self._bounds
        if self._asking:
            if len(open_questions) >= bounds.questions:
                return None
            return vision_pb2.EdgeMessage(question=self._asking.popleft())
        if len(in_flight) >= bounds.packets or not (self._live or self._behind):
            return None
        if self._live:
            parcel = self._live[-1 if bounds.live else 0]
            if not self._fits(parcel, bounds.bytes):
                return None
            self._live.remove(parcel)
        elif self._link_is_idle():
            parcel = self._behind.popleft()
            self.pace.went(parcel.size)
        else:
            return None
        self._flying[parcel.sequence] = (parcel.size, time.monotonic())
        self._asking.extend(parcel.questions.values())
        self._said(parcel)
        return vision_pb2.EdgeMessage(packet=parcel.packet)

    def _link_is_idle(self) -> bool:
        bounds = self._bounds
        owing = sum(not parcel.live for parcel in self._parcels.values()) - len(self._behind)
        return (
            self.pace.allows()
            and owing < bounds.backlog_packets
            and self._fits(self._behind[0], bounds.backlog_bytes)
        )

    def _fits(self, parcel: Parcel, most_bytes: int) -> bool:
        """A packet that is larger than the bound goes alone."""
        return not self._flying or self._flying_bytes + parcel.size <= most_bytes

    @property
    def _flying_bytes(self) -> int:
        return sum(size for size, _ in self._flying.values())

    @property
    def _waits(self) -> bool:
        return self._spool is None or not self._bounds.live

    def _has_room(self, questions: int) -> bool:
        # More questions than the bound still go, one frame at a time.
        bounds = self._bounds
        fits = not self._asked or len(self._asked) + questions <= bounds.questions
        return self._streaming and fits and self.unsettled < bounds.packets

    def _is_drained(self) -> bool:
        if not self._retired:
            return self.empty
        return not self._streaming or len(self._parcels) == len(self._behind)

    def _stored_already(self, sequence: int) -> None:
        self._doubts.pop(sequence, None)
        if parcel := self._parcels.get(sequence):
            parcel.settled = True
            self._review(parcel)
        elif self._spool is not None:
            self._spool.settle(sequence, Fate.DELIVERED.value, unasked_only=True)

    def _requeue(self, parcel: Parcel) -> None:
        """On a new stream: what is late waits for the link to be idle."""
        parcel.unstored = False
        if parcel.deadline_s < time.monotonic():
            self._fall_behind(parcel)

    def _review(self, parcel: Parcel) -> None:
        """Once its questions are answered, a packet is done, or has to be said again."""
        if parcel.questions:
            return
        if parcel.settled:
            self._end(parcel, Fate.DELIVERED.value)
        elif parcel.unstored:
            self.pace.pause(UNSTORED_PAUSE_S)
            parcel.unstored = False
            self._fall_behind(parcel)

    def _fall_behind(self, parcel: Parcel) -> None:
        parcel.live = False
        if parcel.kept:
            self._forget(parcel)
        elif parcel not in self._behind:
            self._behind.append(parcel)
            self._make_room()

    def _make_room(self) -> None:
        """Memory is bounded: the oldest live packet falls behind, the oldest unkept one is lost."""
        if self._waits:
            return
        while _too_much(self._live):
            self._fall_behind(self._live.popleft())
        unkept = deque(p for p in self._behind if p.unkept is not None)
        while _too_much(unkept):
            lost = unkept.popleft()
            self._lose(lost, lost.unkept or Fate.IO_ERROR)

    def _lose(self, parcel: Parcel, unkept: Fate) -> None:
        """Nobody has it any more; the cloud may, and only answers are missing."""
        self._end(parcel, (Fate.DELIVERED if parcel.settled else unkept).value)

    def _end(self, parcel: Parcel, counter: str) -> None:
        """A packet ended; its counter says how."""
        self._remove(parcel)
        if self._spool is None:
            return
        if parcel.kept:
            self._spool.settle(parcel.sequence, counter)
        else:
            self._spool.count(counter)

    def _forget(self, parcel: Parcel) -> None:
        """A packet that is on disk leaves the memory."""
        self._remove(parcel)
        if self._spool is not None:
            self._spool.release(parcel.sequence)

    def _remove(self, parcel: Parcel) -> None:
        self._parcels.pop(parcel.sequence, None)
        for question_id in parcel.questions:
            self._asked.pop(question_id, None)
        for waiting in (self._live, self._behind):
            if parcel in waiting:
                waiting.remove(parcel)
        self._asking = deque(q for q in self._asking if q.sequence != parcel.sequence)


def _too_much(parcels: Collection[Parcel]) -> bool:
    return len(parcels) > MOST_IN_MEMORY or sum(p.size for p in parcels) > MOST_BYTES_IN_MEMORY
