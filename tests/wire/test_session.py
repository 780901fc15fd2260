"""Two real ends over a link in memory keep the session's rules; whoever breaks them is named."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from saccade.errors import LimitExceeded, LocalError, RemoteError, SaccadeError
from saccade.session import TRANSITIONS, Role, Session, State
from saccade.v1 import tokens_pb2, vision_pb2

Edge = vision_pb2.EdgeMessage
Cloud = vision_pb2.CloudMessage

HELLO = Edge(hello=vision_pb2.Hello(protocol=1))
BYE = Edge(bye=vision_pb2.Bye())
BUDGET = Cloud(budget=vision_pb2.Budget(frames_per_minute=80))
FATAL = Cloud(failure=vision_pb2.Failure(code="limit", fatal=True))


def welcome(in_flight: int = 2, questions: int = 2) -> Cloud:
    limits = vision_pb2.Limits(in_flight_packets=in_flight, open_questions=questions)
    return Cloud(welcome=vision_pb2.Welcome(protocol=1, limits=limits))


def packet(sequence: int) -> Edge:
    return Edge(packet=tokens_pb2.FramePacket(sequence=sequence))


def question(number: int) -> Edge:
    return Edge(question=vision_pb2.Question(id=number))


def ack(sequence: int) -> Cloud:
    return Cloud(ack=vision_pb2.Acknowledgement(sequence=sequence))


def answer(number: int, *, last: bool) -> Cloud:
    return Cloud(answer=vision_pb2.AnswerChunk(question_id=number, text="a car", last=last))


def failure(sequence: int = 0, number: int = 0) -> Cloud:
    return Cloud(failure=vision_pb2.Failure(code="x", sequence=sequence, question_id=number))


def conversation(*events: Edge | Cloud) -> tuple[Session, Session]:
    """Both ends after ``events``, each heard at once."""
    edge, cloud = Session("edge"), Session("cloud")
    for event in events:
        speaker, listener = (edge, cloud) if isinstance(event, Edge) else (cloud, edge)
        speaker.send(event)
        listener.receive(event)
    return edge, cloud


class TestRules:
    def test_a_whole_conversation(self) -> None:
        edge, cloud = conversation(
            *(HELLO, welcome(), packet(1), question(1), ack(1), answer(1, last=False), BUDGET),
            *(answer(1, last=True), packet(2), BYE, ack(2)),
        )
        for end in (edge, cloud):
            assert end.state is State.LEAVING
            assert end.settled

    @pytest.mark.parametrize("event", [packet(1), question(1), BYE])
    def test_the_edge_says_nothing_before_hello(self, event: Edge) -> None:
        with pytest.raises(LocalError, match="in a session that is silent"):
            Session("edge").send(event)
        with pytest.raises(RemoteError, match="in a session that is silent"):
            Session("cloud").receive(event)

    @pytest.mark.parametrize("event", [packet(1), question(1), HELLO])
    def test_the_edge_waits_for_welcome(self, event: Edge) -> None:
        edge, cloud = conversation(HELLO)
        with pytest.raises(LocalError, match="in a session that is greeted"):
            edge.send(event)
        with pytest.raises(RemoteError, match="in a session that is greeted"):
            cloud.receive(event)

    @pytest.mark.parametrize("event", [packet(1), question(1), HELLO, BYE])
    def test_the_edge_is_silent_after_bye(self, event: Edge) -> None:
        edge, _ = conversation(HELLO, welcome(), BYE)
        with pytest.raises(LocalError, match="in a session that is leaving"):
            edge.send(event)

    def test_welcome_may_cross_bye(self) -> None:
        edge, _ = conversation(HELLO)
        edge.send(BYE)
        edge.receive(welcome())
        assert edge.state is State.LEAVING

    @pytest.mark.parametrize("events", [[HELLO], [HELLO, welcome()], [HELLO, welcome(), BYE]])
    def test_a_fatal_failure_ends_all(self, events: list[Edge | Cloud]) -> None:
        edge, cloud = conversation(*events, FATAL)
        assert edge.state is cloud.state is State.ENDED
        with pytest.raises(LocalError, match="the edge said packet in a session that is ended"):
            edge.send(packet(1))

    def test_an_empty_message_is_refused(self) -> None:
        _, cloud = conversation(HELLO, welcome())
        with pytest.raises(RemoteError, match="the edge said nothing"):
            cloud.receive(Edge())

    def test_an_end_speaks_only_for_itself(self) -> None:
        edge, cloud = conversation(HELLO)
        with pytest.raises(LocalError, match="the edge can't send a cloud message"):
            edge.send(welcome())
        with pytest.raises(RemoteError, match="the cloud received a cloud message"):
            cloud.receive(welcome())


class TestPackets:
    def test_a_sequence_in_flight_is_not_sent_again(self) -> None:
        edge, cloud = conversation(HELLO, welcome(), packet(7))
        with pytest.raises(LocalError, match="packet 7 is in flight already"):
            edge.send(packet(7))
        with pytest.raises(RemoteError, match="packet 7 is in flight already"):
            cloud.receive(packet(7))

    @pytest.mark.parametrize("settling", [ack(7), failure(sequence=7)])
    def test_a_settled_sequence_may_be_sent_again(self, settling: Cloud) -> None:
        edge, _ = conversation(HELLO, welcome(), packet(7), settling, packet(7))
        assert edge.in_flight == {7}

    def test_no_more_are_in_flight_than_welcome_allows(self) -> None:
        edge, cloud = conversation(HELLO, welcome(in_flight=2), packet(1), packet(2))
        message = "packet 3: 2 are in flight, the limit is 2"
        with pytest.raises(LimitExceeded, match=message):
            edge.send(packet(3))
        with pytest.raises(LimitExceeded, match=message):
            cloud.receive(packet(3))

    def test_a_limit_left_out_is_the_default(self) -> None:
        edge, _ = conversation(HELLO, welcome(in_flight=0), *map(packet, range(1, 65)))
        with pytest.raises(LimitExceeded, match="the limit is 64"):
            edge.send(packet(65))

    def test_sequences_start_at_1(self) -> None:
        edge, _ = conversation(HELLO, welcome())
        with pytest.raises(LocalError, match="packet 0: they are numbered from 1"):
            edge.send(packet(0))

    def test_only_what_is_in_flight_is_acknowledged(self) -> None:
        edge, cloud = conversation(HELLO, welcome(), packet(1))
        with pytest.raises(LocalError, match="packet 2 is not in flight"):
            cloud.send(ack(2))
        with pytest.raises(RemoteError, match="packet 2 is not in flight"):
            edge.receive(ack(2))


class TestQuestions:
    def test_an_answer_is_over_with_its_last_chunk(self) -> None:
        edge, cloud = conversation(HELLO, welcome(), question(4), answer(4, last=True))
        with pytest.raises(LocalError, match="question 4 is not open"):
            cloud.send(answer(4, last=False))
        with pytest.raises(RemoteError, match="question 4 is not open"):
            edge.receive(answer(4, last=False))

    def test_a_refused_question_is_closed(self) -> None:
        edge, _ = conversation(HELLO, welcome(), question(4), failure(number=4))
        assert edge.settled

    def test_a_failure_names_only_what_is_owed(self) -> None:
        _, cloud = conversation(HELLO, welcome())
        with pytest.raises(LocalError, match="question 1 is not open"):
            cloud.send(failure(number=1))
        with pytest.raises(LocalError, match="packet 3 is not in flight"):
            cloud.send(failure(sequence=3))
        cloud.send(failure())

    def test_no_more_are_open_than_welcome_allows(self) -> None:
        edge, _ = conversation(HELLO, welcome(questions=1), question(1))
        with pytest.raises(LimitExceeded, match="question 2: 1 are open, the limit is 1"):
            edge.send(question(2))


EVENTS: list[Edge | Cloud] = [
    *(HELLO, BYE, BUDGET, FATAL, welcome(), Edge(), Cloud()),
    *(packet(0), packet(1), packet(2), question(0), question(1), question(2)),
    *(ack(1), ack(2), answer(1, last=False), answer(2, last=True), failure(1), failure(0, 1)),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_what_one_end_may_send_the_other_may_hear(events: list[Edge | Cloud]) -> None:
    """One table: over a link without delay both ends agree on every event, and a refusal changes
    nothing."""
    edge, cloud = Session("edge"), Session("cloud")
    for event in events:
        speaker, listener = (edge, cloud) if isinstance(event, Edge) else (cloud, edge)
        before = (listener.state, set(listener.in_flight), set(listener.questions))
        sent, heard = outcome(speaker.send, event), outcome(listener.receive, event)
        assert (sent is None) == (heard is None)
        if heard is not None:
            assert (listener.state, listener.in_flight, listener.questions) == before
        assert edge.state is cloud.state
        assert edge.in_flight == cloud.in_flight
        assert edge.questions == cloud.questions


def outcome(step: object, event: Edge | Cloud) -> SaccadeError | None:
    assert callable(step)
    try:
        step(event)
    except SaccadeError as error:
        return error
    return None


def test_the_table_names_every_state_and_kind() -> None:
    edge_kinds = {f.name for f in Edge.DESCRIPTOR.oneofs_by_name["kind"].fields}
    cloud_kinds = {f.name for f in Cloud.DESCRIPTOR.oneofs_by_name["kind"].fields}
    said = {pair for row in TRANSITIONS.values() for pair in row}
    assert set(TRANSITIONS) == set(State)
    assert {kind for role, kind in said if role is Role.EDGE} == edge_kinds
    assert {kind for role, kind in said if role is Role.CLOUD} == cloud_kinds | {"fatal"}


class DelayedLink(RuleBasedStateMachine):
    """Messages lie on the link for a while: nothing that an end may say is refused on arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.cloud = Session("edge"), Session("cloud")
        self.up: deque[Edge] = deque()
        self.down: deque[Cloud] = deque()
        self.received: set[int] = set()

    @rule(event=st.sampled_from([e for e in EVENTS if isinstance(e, Edge)]))
    def edge_says(self, event: Edge) -> None:
        if outcome(self.edge.send, event) is None:
            self.up.append(event)

    @rule(event=st.sampled_from([e for e in EVENTS if isinstance(e, Cloud)]))
    def cloud_says(self, event: Cloud) -> None:
        if outcome(self.cloud.send, event) is None:
            self.down.append(event)

    @precondition(lambda self: self.up and self.cloud.state is not State.ENDED)
    @rule()
    def cloud_hears(self) -> None:
        self.cloud.receive(self.up.popleft())

    @precondition(lambda self: self.down)
    @rule()
    def edge_hears(self) -> None:
        self.edge.receive(self.down.popleft())

    @invariant()
    def the_cloud_owes_nothing_that_the_edge_does_not_expect(self) -> None:
        assert self.cloud.questions <= self.edge.questions or self.down
        assert len(self.edge.in_flight) <= 64


TestDelayedLink = DelayedLink.TestCase
