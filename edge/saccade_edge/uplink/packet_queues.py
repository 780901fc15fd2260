"""The packets and questions in memory, in the order in which they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket

# Live packets that wait and packets that no disk takes: what memory they may have.
MOST_IN_MEMORY = 64
MOST_BYTES_IN_MEMORY = 4 << 20


class Queues:
    """``packets``: all by sequence, sent or not; ``live`` and ``behind``: those not sent;
    ``asked``: open questions by id; ``asking``: those whose packet has been sent, and they not.
    """

    def __init__(self) -> None:
        self.packets: dict[int, QueuedPacket] = {}
        self.asked: dict[int, OpenQuestion] = {}
        self.live: deque[QueuedPacket] = deque()
        self.behind: deque[QueuedPacket] = deque()
        self.asking: deque[OpenQuestion] = deque()

    def add(self, queued: QueuedPacket) -> None:
        """In no queue yet."""
        self.packets[queued.sequence] = queued
        self.asked.update(queued.questions)

    def remove(self, queued: QueuedPacket) -> None:
        self.packets.pop(queued.sequence, None)
        for question_id in queued.questions:
            self.asked.pop(question_id, None)
        for waiting in (self.live, self.behind):
            if queued in waiting:
                waiting.remove(queued)
        self.asking = deque(q for q in self.asking if q.sequence != queued.sequence)

    def answered(self, question_id: int) -> tuple[OpenQuestion, QueuedPacket] | None:
        """A question is no longer open: it and its packet, None where it is not here."""
        question = self.asked.pop(question_id, None)
        queued = self.packets.get(question.sequence) if question else None
        if question is None or queued is None:
            return None
        del queued.questions[question_id]
        return question, queued

    def sent(self, queued: QueuedPacket) -> None:
        """Its questions are next."""
        self.asking.extend(queued.questions.values())

    def send_all_again(self) -> int:
        """On a new stream; how many messages are live."""
        self.asking.clear()
        self.live = deque(p for p in self.packets.values() if p.live)
        self.behind = deque(p for p in self.packets.values() if not p.live)
        return sum(1 + len(queued.questions) for queued in self.live)

    def next_live(self, *, newest: bool, still: bool) -> QueuedPacket | None:
        """``still``: the link stands still, and held ones stay."""
        order = reversed(self.live) if newest else iter(self.live)
        return next((queued for queued in order if not (still and queued.held)), None)

    @property
    def unsettled(self) -> int:
        """Live packets that are not acknowledged."""
        return sum(queued.live and not queued.settled for queued in self.packets.values())

    @property
    def owing(self) -> int:
        """Packets of the backlog that were sent, and are not done."""
        return sum(not queued.live for queued in self.packets.values()) - len(self.behind)

    @property
    def on_disk(self) -> int:
        """Packets that are on disk as well."""
        return sum(queued.on_disk for queued in self.packets.values())


def too_much(packets: Collection[QueuedPacket]) -> bool:
    """For memory."""
    return len(packets) > MOST_IN_MEMORY or sum(p.size for p in packets) > MOST_BYTES_IN_MEMORY
