"""A packet in memory, and what is known of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from saccade.turns import Question
from saccade.v1 import tokens_pb2, vision_pb2
from saccade_edge.spool import Entry, Fate


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question about a packet; ``id``: the edge's own. What the turns call the frame at hand is
    the packet's frame.
    """

    id: int
    sequence: int
    question: Question

    @property
    def text(self) -> str:
        """What the user says last."""
        return self.question.text

    def message(self) -> vision_pb2.Question:
        """As it is sent."""
        turns, generation = self.question.at_hand(self.sequence).to_wire()
        return vision_pb2.Question(id=self.id, turns=turns, generation=generation)


@dataclass(eq=False)
class QueuedPacket:
    """A packet and its open questions by id, in the order in which they were asked.

    ``deadline_s``: monotonic time until which it is live. ``entry``: as the spool keeps it, None
    without a spool; ``disk_fault``: why it is not on disk although there is a spool. ``point``: its
    operating point, None where that is not known: it comes from the disk. ``held``: it is not sent
    while the link stands still.
    """

    packet: tokens_pb2.FramePacket
    questions: dict[int, OpenQuestion] = field(default_factory=dict)
    deadline_s: float = math.inf
    entry: Entry | None = None
    disk_fault: Fate | None = None
    point: int | None = None
    live: bool = True
    held: bool = False
    settled: bool = False  # the cloud has it, and open questions are all that is left
    unstored: bool = False  # the cloud heard it and did not store it
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.packet.ByteSize()

    @property
    def sequence(self) -> int:
        return self.packet.sequence

    @property
    def on_disk(self) -> bool:
        """Whether it is on disk."""
        return self.entry is not None and self.disk_fault is None

    @classmethod
    def of(cls, entry: Entry) -> QueuedPacket:
        """From the backlog. Raises ``google.protobuf.message.DecodeError``."""
        questions = {
            asked.id: OpenQuestion(asked.id, entry.sequence, asked.question)
            for asked in entry.questions
        }
        packet = tokens_pb2.FramePacket.FromString(entry.packet)
        return cls(packet, questions, deadline_s=-math.inf, entry=entry, live=False)
