"""What the edge has said or has yet to say, until the cloud has settled it.

Rules:

- Nothing is added while there is no stream: a frame that waits for one is old when it goes.
- Messages are said in the order in which they were added; at most ``packets`` are unsettled at
  a time and ``questions`` open, so adding waits and memory is bounded.
- A packet stays until it is acknowledged *and* its questions are answered: a new stream knows
  nothing of the old one's packets, so an open question needs its packet said again.
- On a new stream everything that is here is said again; the cloud knows a packet by its
  identity, so hearing it twice changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from saccade.v1 import tokens_pb2, vision_pb2


@dataclass
class _Parcel:
    """A packet and its open questions by id, in the order in which they were asked."""

    packet: tokens_pb2.FramePacket
    settled: bool = False
    questions: dict[int, vision_pb2.Question] = field(default_factory=dict)

    def messages(self) -> list[vision_pb2.EdgeMessage]:
        packet = vision_pb2.EdgeMessage(packet=self.packet)
        asked = [vision_pb2.EdgeMessage(question=q) for q in self.questions.values()]
        return [packet, *asked]


class Outbox:
    """Belongs to one event loop."""

    def __init__(self, packets: int, questions: int) -> None:
        self._packets = packets
        self._questions = questions
        self._parcels: dict[int, _Parcel] = {}
        self._asked: dict[int, vision_pb2.Question] = {}  # open ones by id
        self._unsaid: deque[vision_pb2.EdgeMessage] = deque()
        self._streaming = False
        self._closed = False
        self._changed = asyncio.Condition()

    @property
    def unsettled(self) -> int:
        """Packets that are not acknowledged."""
        return sum(not parcel.settled for parcel in self._parcels.values())

    def bound(self, packets: int, questions: int) -> None:
        """Tighten to what the cloud accepts; 0 does not bind."""
        self._packets = min(self._packets, packets or self._packets)
        self._questions = min(self._questions, questions or self._questions)

    async def room(self, questions: int) -> None:
        """Wait until a packet with so many questions can be added."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(questions))

    async def add(
        self, packet: tokens_pb2.FramePacket, questions: Sequence[vision_pb2.Question]
    ) -> None:
        """Wait for room, then queue a packet and what is asked about it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(len(questions)))
            parcel = _Parcel(packet, questions={q.id: q for q in questions})
            self._parcels[packet.sequence] = parcel
            self._asked.update(parcel.questions)
            self._unsaid.extend(parcel.messages())
            self._changed.notify_all()

    async def next(
        self, in_flight: Collection[int], open_questions: Collection[int]
    ) -> vision_pb2.EdgeMessage | None:
        """The next message to say, once this stream has room for it; None after ``close``."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._closed or self._sayable(in_flight, open_questions)
            )
            return None if self._closed else self._unsaid.popleft()

    async def drained(self) -> None:
        """Wait until the cloud owes nothing."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._parcels)

    async def close(self) -> None:
        """Nothing more is said."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def settle(self, sequence: int) -> None:
        """The cloud acknowledged or refused a packet."""
        async with self._changed:
            if parcel := self._parcels.get(sequence):
                parcel.settled = True
                self._release(sequence)
            self._changed.notify_all()

    async def answered(self, question_id: int) -> vision_pb2.Question | None:
        """The cloud answered or refused a question: the question, None if it is not here."""
        async with self._changed:
            question = self._asked.pop(question_id, None)
            if question and (parcel := self._parcels.get(question.sequence)):
                del parcel.questions[question_id]
                self._release(question.sequence)
            self._changed.notify_all()
            return question

    async def rewind(self, resume_after: int) -> int:
        """A new stream begins: queue anew all that is unsettled or still asked about.

        Packets up to ``resume_after`` are stored already and are said again only for their
        questions. Returns how many messages are queued.
        """
        async with self._changed:
            for sequence, parcel in list(self._parcels.items()):
                parcel.settled = sequence <= resume_after
                self._release(sequence)
            self._unsaid = deque(m for p in self._parcels.values() for m in p.messages())
            self._streaming = True
            self._changed.notify_all()
            return len(self._unsaid)

    def suspend(self) -> None:
        """The stream is gone."""
        self._streaming = False

    def _release(self, sequence: int) -> None:
        parcel = self._parcels[sequence]
        if parcel.settled and not parcel.questions:
            del self._parcels[sequence]

    def _has_room(self, questions: int) -> bool:
        # More questions than the bound still go, one frame at a time.
        fits = not self._asked or len(self._asked) + questions <= self._questions
        return self._streaming and fits and self.unsettled < self._packets

    def _sayable(self, in_flight: Collection[int], open_questions: Collection[int]) -> bool:
        if not self._unsaid:
            return False
        if self._unsaid[0].WhichOneof("kind") == "packet":
            return len(in_flight) < self._packets
        return len(open_questions) < self._questions
