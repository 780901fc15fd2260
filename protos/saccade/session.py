"""Who may say what, when, on `Vision.Connect`.

The rules, all of them in this file and nowhere else:

- The edge opens with hello; the cloud replies with welcome or with a fatal failure. Nothing else
  is said before.
- Then the edge sends packets and questions; the cloud sends acknowledgements, answers, budgets and
  failures, in any order.
- A packet's sequence starts at 1 and isn't sent again while the first is in flight, that is until
  it is acknowledged or refused by a failure. No more are in flight than welcome allows.
- A question's id starts at 1 and isn't used again while it is open, that is until the answer's
  last chunk or a failure. No more are open than welcome allows.
- The cloud acknowledges only what is in flight, answers only what is open, and a failure names
  only what is one of the two: else it could cross a message that it seems to speak of.
- After bye the edge says nothing more; the cloud finishes what it owes. A fatal failure ends all.

This file does no I/O and doesn't know which end it serves: one table, keyed by the speaker,
holds for both. An end asks `Session.send` before it speaks and tells `Session.receive` what it
heard. The two directions are each in order, but cross each other: what an end may hear after its
own bye includes all that the other end may have said before hearing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from saccade.errors import LimitExceeded, LocalError, RemoteError, SaccadeError
from saccade.limits import Limits
from saccade.v1 import vision_pb2 as pb

PROTOCOL = 1  # Hello.protocol and Welcome.protocol

Event = pb.EdgeMessage | pb.CloudMessage

_DEFAULTS = Limits()  # where welcome doesn't say


class Role(Enum):
    """The two ends."""

    EDGE = "edge"
    CLOUD = "cloud"


class State(Enum):
    """What both ends have said so far, as one of them knows it."""

    SILENT = "silent"  # nothing yet
    GREETED = "greeted"  # hello
    OPEN = "open"  # hello and welcome
    LEAVING = "leaving"  # bye: the cloud finishes what it owes
    ENDED = "ended"  # a fatal failure


_REPLIES = ("ack", "answer", "budget", "failure")

# State -> (speaker, kind of message) -> next state. What isn't here is forbidden.
TRANSITIONS: Mapping[State, Mapping[tuple[Role, str], State]] = {
    State.SILENT: {(Role.EDGE, "hello"): State.GREETED},
    State.GREETED: {
        (Role.CLOUD, "welcome"): State.OPEN,
        (Role.CLOUD, "fatal"): State.ENDED,
        (Role.EDGE, "bye"): State.LEAVING,
    },
    State.OPEN: {
        (Role.EDGE, "packet"): State.OPEN,
        (Role.EDGE, "question"): State.OPEN,
        (Role.EDGE, "bye"): State.LEAVING,
        **{(Role.CLOUD, reply): State.OPEN for reply in _REPLIES},
        (Role.CLOUD, "fatal"): State.ENDED,
    },
    State.LEAVING: {
        (Role.CLOUD, "welcome"): State.LEAVING,  # crossed the edge's bye
        **{(Role.CLOUD, reply): State.LEAVING for reply in _REPLIES},
        (Role.CLOUD, "fatal"): State.ENDED,
    },
    State.ENDED: {},
}


def kind_of(event: Event) -> str:
    """The message's kind; a failure that ends the stream is "fatal", an empty message "nothing"."""
    kind = event.WhichOneof("kind") or "nothing"
    if isinstance(event, pb.CloudMessage) and kind == "failure" and event.failure.fatal:
        return "fatal"
    return kind


class Session:
    """One stream as one end knows it. ``in_flight``: sequences that the cloud hasn't settled;
    ``questions``: ids that it hasn't answered.
    """

    def __init__(self, role: Role | str) -> None:
        self.role = Role(role)
        self.state = State.SILENT
        self.in_flight: set[int] = set()
        self.questions: set[int] = set()
        self._most_in_flight = _DEFAULTS.in_flight_packets
        self._most_questions = _DEFAULTS.open_questions

    def send(self, event: Event) -> None:
        """Before ``event`` is sent. Raises LocalError and changes nothing if it is forbidden."""
        speaker = Role.EDGE if isinstance(event, pb.EdgeMessage) else Role.CLOUD
        if speaker is not self.role:
            raise LocalError(f"the {self.role.value} can't send a {speaker.value} message")
        self._step(event, LocalError)

    def receive(self, event: Event) -> None:
        """When ``event`` was heard. Raises RemoteError or LimitExceeded and changes nothing if it
        is forbidden.
        """
        speaker = Role.EDGE if isinstance(event, pb.EdgeMessage) else Role.CLOUD
        if speaker is self.role:
            raise RemoteError(f"the {self.role.value} received a {speaker.value} message")
        self._step(event, RemoteError)

    @property
    def settled(self) -> bool:
        """Nothing is owed: no packet in flight, no question open."""
        return not self.in_flight and not self.questions

    def _step(self, event: Event, blame: type[SaccadeError]) -> None:
        kind = kind_of(event)
        speaker = Role.EDGE if isinstance(event, pb.EdgeMessage) else Role.CLOUD
        following = TRANSITIONS[self.state].get((speaker, kind))
        if following is None:
            raise blame(f"the {speaker.value} said {kind} in a session that is {self.state.value}")
        if isinstance(event, pb.EdgeMessage):
            self._ask(event, kind, blame)
        else:
            self._settle(event, kind, blame)
        self.state = following

    def _ask(self, event: pb.EdgeMessage, kind: str, blame: type[SaccadeError]) -> None:
        if kind == "packet":
            _add(
                self.in_flight,
                event.packet.sequence,
                self._most_in_flight,
                ("packet", "in flight"),
                blame,
            )
        elif kind == "question":
            _add(
                self.questions, event.question.id, self._most_questions, ("question", "open"), blame
            )

    def _settle(self, event: pb.CloudMessage, kind: str, blame: type[SaccadeError]) -> None:
        if kind == "welcome":
            limits = event.welcome.limits
            self._most_in_flight = limits.in_flight_packets or _DEFAULTS.in_flight_packets
            self._most_questions = limits.open_questions or _DEFAULTS.open_questions
        elif kind == "ack":
            _require(self.in_flight, event.ack.sequence, ("packet", "in flight"), blame)
            self.in_flight.discard(event.ack.sequence)
        elif kind == "answer":
            _require(self.questions, event.answer.question_id, ("question", "open"), blame)
            if event.answer.last:
                self.questions.discard(event.answer.question_id)
        elif kind == "failure":
            self._refuse(event.failure, blame)

    def _refuse(self, failure: pb.Failure, blame: type[SaccadeError]) -> None:
        """A failure settles what it names; 0 names nothing."""
        if failure.sequence:
            _require(self.in_flight, failure.sequence, ("packet", "in flight"), blame)
        if failure.question_id:
            _require(self.questions, failure.question_id, ("question", "open"), blame)
        self.in_flight.discard(failure.sequence)
        self.questions.discard(failure.question_id)


def _add(
    numbers: set[int], number: int, most: int, words: tuple[str, str], blame: type[SaccadeError]
) -> None:
    what, where = words
    if number == 0:
        raise blame(f"{what} 0: they are numbered from 1")
    if number in numbers:
        raise blame(f"{what} {number} is {where} already")
    if len(numbers) >= most:
        raise LimitExceeded(f"{what} {number}: {len(numbers)} are {where}, the limit is {most}")
    numbers.add(number)


def _require(
    numbers: set[int], number: int, words: tuple[str, str], blame: type[SaccadeError]
) -> None:
    what, where = words
    if number not in numbers:
        raise blame(f"{what} {number} is not {where}")
