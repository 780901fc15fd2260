from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from saccade.turns import asking
from saccade.v1 import tokens_pb2
from saccade_edge.uplink.backoff import Backoff
from saccade_edge.uplink.link_state import Bounds
from saccade_edge.uplink.outbox import Outbox
from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket


def queued(sequence: int, *questions: OpenQuestion) -> QueuedPacket:
    packet = tokens_pb2.FramePacket(sequence=sequence)
    return QueuedPacket(packet, {asked.id: asked for asked in questions})


def question(question_id: int, sequence: int) -> OpenQuestion:
    return OpenQuestion(question_id, sequence, asking("what is it?"))


async def waits(work: Coroutine[Any, Any, Any]) -> bool:
    try:
        await asyncio.wait_for(work, 0.02)
    except asyncio.TimeoutError:
        return True
    return False


async def said(outbox: Outbox, in_flight: set[int], open_questions: set[int]) -> list[str]:
    """All that may be said now, as "p1" and "q1"."""
    words: list[str] = []
    while True:
        try:
            message = await asyncio.wait_for(outbox.next(in_flight, open_questions), 0.02)
        except asyncio.TimeoutError:
            return words
        assert message is not None
        if message.WhichOneof("kind") == "packet":
            in_flight.add(message.packet.sequence)
            words.append(f"p{message.packet.sequence}")
        else:
            open_questions.add(message.question.id)
            words.append(f"q{message.question.id}")


async def opened(packets: int = 8, questions: int = 8) -> Outbox:
    outbox = Outbox(Bounds(packets, questions))
    await outbox.rewind([])
    return outbox


def test_messages_are_said_in_their_order() -> None:
    async def play() -> None:
        outbox = await opened()
        await outbox.add(queued(1, question(1, 1), question(2, 1)))
        await outbox.add(queued(2))
        assert await said(outbox, set(), set()) == ["p1", "q1", "q2", "p2"]

    asyncio.run(play())


def test_adding_waits_while_too_much_is_unsettled() -> None:
    async def play() -> None:
        outbox = await opened(packets=2)
        await outbox.add(queued(1))
        await outbox.add(queued(2))
        assert await waits(outbox.add(queued(3)))
        await outbox.settle(1)
        assert not await waits(outbox.add(queued(3)))
        assert outbox.unsettled == 2

    asyncio.run(play())


def test_adding_waits_while_too_many_questions_are_open() -> None:
    async def play() -> None:
        outbox = await opened(questions=2)
        await outbox.add(queued(1, question(1, 1), question(2, 1)))
        await outbox.settle(1)
        assert await waits(outbox.room(1))
        await outbox.answered(1)
        assert not await waits(outbox.room(1))

    asyncio.run(play())


def test_nothing_is_added_without_a_stream() -> None:
    async def play() -> None:
        outbox = Outbox(Bounds(8, 8))
        assert await waits(outbox.room(0))
        await outbox.rewind([])
        assert not await waits(outbox.room(0))
        outbox.suspend()
        assert await waits(outbox.room(0))

    asyncio.run(play())


def test_a_new_stream_hears_what_is_owed_and_nothing_else() -> None:
    async def play() -> None:
        outbox = await opened()
        for sequence in (1, 2, 3):
            await outbox.add(queued(sequence, question(sequence, sequence)))
        await said(outbox, set(), set())
        await outbox.settle(1)
        await outbox.answered(1)  # 1 is done; 2 waits for its answer, 3 for both
        await outbox.settle(2)
        assert await outbox.rewind([]) == 4
        assert await said(outbox, set(), set()) == ["p2", "q2", "p3", "q3"]

    asyncio.run(play())


def test_what_the_cloud_has_stored_is_said_again_only_for_its_questions() -> None:
    async def play() -> None:
        outbox = await opened()
        await outbox.add(queued(1))
        await outbox.add(queued(2, question(1, 2)))
        await outbox.add(queued(3))
        await said(outbox, set(), set())
        await outbox.rewind([1, 2])
        assert await said(outbox, set(), set()) == ["p2", "q1", "p3"]

    asyncio.run(play())


def test_a_tighter_cloud_is_not_told_more_than_it_takes() -> None:
    async def play() -> None:
        outbox = await opened()
        for sequence in (1, 2, 3):
            await outbox.add(queued(sequence))
        outbox.bound(2, 0)
        await outbox.rewind([])
        in_flight: set[int] = set()
        assert await said(outbox, in_flight, set()) == ["p1", "p2"]
        in_flight.discard(1)
        await outbox.settle(1)
        assert await said(outbox, in_flight, set()) == ["p3"]

    asyncio.run(play())


def test_what_is_held_goes_when_the_link_moves_again_the_newest_first() -> None:
    async def play() -> None:
        outbox = Outbox(Bounds(still_s=0.05, live=True))
        await outbox.rewind([])
        await outbox.add(queued(1))
        in_flight: set[int] = set()
        assert await said(outbox, in_flight, set()) == ["p1"]
        await asyncio.sleep(0.06)  # nothing is acknowledged: the link stands still
        for sequence in (2, 3):
            held = queued(sequence)
            held.held = True
            await outbox.add(held)
        assert await said(outbox, in_flight, set()) == []
        await outbox.add(queued(4))  # this one asks whether the link is back
        assert await said(outbox, in_flight, set()) == ["p4"]
        await outbox.settle(1)
        assert await said(outbox, in_flight, set()) == ["p3", "p2"]

    asyncio.run(play())


def test_it_is_drained_once_all_is_settled_and_answered() -> None:
    async def play() -> None:
        outbox = await opened()
        await outbox.add(queued(1, question(1, 1)))
        await outbox.settle(1)
        assert await waits(outbox.drained())
        await outbox.answered(1)
        assert not await waits(outbox.drained())
        await outbox.settle(7)  # never sent
        assert await outbox.answered(7) is None

    asyncio.run(play())


def test_pauses_grow_to_their_bound_and_start_anew_after_a_success() -> None:
    backoff = Backoff(first_s=0.5, most_s=8.0)
    pauses = [backoff.next_s() for _ in range(200)]
    assert all(0.5 <= pause <= 8.0 for pause in pauses)
    assert max(pauses[:2]) <= 2.0
    assert max(pauses) > 6.0
    assert len(set(pauses)) > 190  # a fleet does not come back as one wave
    backoff.reset()
    assert backoff.next_s() <= 1.0
