"""The packets and questions in memory, in the order in which they are said."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from saccade.v1 import vision_pb2
from saccade_edge.uplink.parcel import Parcel

# Live packets that wait and packets that no disk takes: what memory they may have.
MOST_IN_MEMORY = 64
MOST_BYTES_IN_MEMORY = 4 << 20


class Queues:
    """``parcels``: all by sequence, said or not; ``live`` and ``behind``: those not said;
    ``asked``: open questions by id; ``asking``: those whose packet has been said, and they not.
    """

    def __init__(self) -> None:
        self.parcels: dict[int, Parcel] = {}
        self.asked: dict[int, vision_pb2.Question] = {}
        self.live: deque[Parcel] = deque()
        self.behind: deque[Parcel] = deque()
        self.asking: deque[vision_pb2.Question] = deque()

    def add(self, parcel: Parcel) -> None:
        """In no queue yet."""
        self.parcels[parcel.sequence] = parcel
        self.asked.update(parcel.questions)

    def remove(self, parcel: Parcel) -> None:
        self.parcels.pop(parcel.sequence, None)
        for question_id in parcel.questions:
            self.asked.pop(question_id, None)
        for waiting in (self.live, self.behind):
            if parcel in waiting:
                waiting.remove(parcel)
        self.asking = deque(q for q in self.asking if q.sequence != parcel.sequence)

    def answered(self, question_id: int) -> tuple[vision_pb2.Question, Parcel] | None:
        """A question is no longer open: it and its packet, None where it is not here."""
        question = self.asked.pop(question_id, None)
        parcel = self.parcels.get(question.sequence) if question else None
        if question is None or parcel is None:
            return None
        del parcel.questions[question_id]
        return question, parcel

    def said(self, parcel: Parcel) -> None:
        """Its questions are next."""
        self.asking.extend(parcel.questions.values())

    def say_all_again(self) -> int:
        """On a new stream; how many messages are live."""
        self.asking.clear()
        self.live = deque(p for p in self.parcels.values() if p.live)
        self.behind = deque(p for p in self.parcels.values() if not p.live)
        return sum(1 + len(parcel.questions) for parcel in self.live)

    def next_live(self, *, newest: bool, still: bool) -> Parcel | None:
        """``still``: the link stands still, and held ones stay."""
        order = reversed(self.live) if newest else iter(self.live)
        return next((parcel for parcel in order if not (still and parcel.held)), None)

    @property
    def unsettled(self) -> int:
        """Live packets that are not acknowledged."""
        return sum(parcel.live and not parcel.settled for parcel in self.parcels.values())

    @property
    def owing(self) -> int:
        """Packets of the backlog that were said, and are not done."""
        return sum(not parcel.live for parcel in self.parcels.values()) - len(self.behind)

    @property
    def kept(self) -> int:
        """Packets that are on disk as well."""
        return sum(parcel.kept for parcel in self.parcels.values())


def too_much(parcels: Collection[Parcel]) -> bool:
    """For memory."""
    return len(parcels) > MOST_IN_MEMORY or sum(p.size for p in parcels) > MOST_BYTES_IN_MEMORY
