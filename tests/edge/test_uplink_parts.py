"""What an uplink is made of: pacing, queues, what is in flight, retries. Exact order."""

from __future__ import annotations

import asyncio
import math
import random
import time

import pytest

from saccade.turns import asking
from saccade.v1 import tokens_pb2
from saccade.v1 import vision_pb2 as pb
from saccade_edge.spool import Asked, Entry, Fate
from saccade_edge.uplink.backlog_pace import BacklogPace
from saccade_edge.uplink.backoff import Backoff
from saccade_edge.uplink.cloud_messages import CloudMessageHandler
from saccade_edge.uplink.in_flight import MOST_DOUBTS, InFlight
from saccade_edge.uplink.link_state import Bounds
from saccade_edge.uplink.outbox import Outbox
from saccade_edge.uplink.packet_queues import MOST_BYTES_IN_MEMORY, MOST_IN_MEMORY, Queues, too_much
from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    Answered,
    AnswerPiece,
    CloudBudget,
    Refused,
)

KB_PER_S = 1000.0


def question(number: int, sequence: int) -> OpenQuestion:
    return OpenQuestion(number, sequence, asking(f"what is {number}?"))


def queued(sequence: int, *questions: int, size: int = 0, live: bool = True) -> QueuedPacket:
    packet = tokens_pb2.FramePacket(sequence=sequence, layers=[bytes(size)] if size else [])
    return QueuedPacket(packet, {n: question(n, sequence) for n in questions}, live=live)


class TestPace:
    def test_half_a_second_that_was_not_used_may_be_used_at_once(self) -> None:
        pace = BacklogPace(KB_PER_S)
        time.sleep(0.6)
        pace.went(480)
        assert pace.allows()

    def test_more_than_half_a_second_is_never_saved(self) -> None:
        pace = BacklogPace(KB_PER_S)
        time.sleep(1.1)
        pace.went(1_000)  # half a second more than was saved
        assert not pace.allows()

    def test_what_went_is_paid_for_by_its_time(self) -> None:
        pace = BacklogPace(10 * KB_PER_S)
        pace.went(8_000)  # 0.8 s, of which at most 0.5 s were saved
        assert not pace.allows()
        time.sleep(0.85)
        assert pace.allows()

    def test_packets_add_to_what_is_owed(self) -> None:
        pace = BacklogPace(KB_PER_S)
        for _ in range(10):
            pace.went(1_000)
        pace.set(math.inf)
        time.sleep(0.2)
        assert not pace.allows()

    def test_a_rate_of_nothing_allows_nothing_until_another_is_set(self) -> None:
        pace = BacklogPace(0.0)
        assert not pace.allows()
        pace.set(0.001)
        assert pace.allows()
        pace.set(0.0)
        assert not pace.allows()

    def test_a_new_rate_is_that_of_the_next_packet(self) -> None:
        pace = BacklogPace(1.0)
        pace.set(1e9)
        pace.went(1000)
        time.sleep(0.01)
        assert pace.allows()

    def test_a_pause_lasts_as_long_as_it_says_and_shortens_none(self) -> None:
        pace = BacklogPace(1e9)
        pace.pause(0.15)
        assert not pace.allows()
        pace.pause(0.01)
        time.sleep(0.03)
        assert not pace.allows()
        time.sleep(0.15)
        assert pace.allows()


class TestBackoff:
    def test_the_nth_pause_is_drawn_up_to_twice_the_one_before(self) -> None:
        ceilings = [1.0, 2.0, 4.0, 8.0, 9.0, 9.0]
        pauses = [[] for _ in ceilings]  # type: list[list[float]]
        for seed in range(400):
            backoff = Backoff(first_s=0.5, most_s=9.0, chance=random.Random(seed))
            for drawn in pauses:
                drawn.append(backoff.next_s())
        for drawn, ceiling in zip(pauses, ceilings, strict=True):
            assert 0.5 <= min(drawn) < 0.5 + 0.1 * ceiling
            assert 0.9 * ceiling < max(drawn) <= ceiling

    def test_a_most_below_the_first_is_the_pause(self) -> None:
        assert Backoff(first_s=5.0, most_s=2.0).next_s() == 2.0

    def test_very_many_tries_are_no_overflow(self) -> None:
        backoff = Backoff(first_s=1e-6, most_s=1e9)
        assert max(backoff.next_s() for _ in range(2000)) <= 1e-6 * 2**16


class TestUnderWay:
    def test_bytes_and_count_are_of_what_is_not_settled(self) -> None:
        in_flight = InFlight()
        in_flight.sent(1, 100)
        in_flight.sent(2, 50)
        assert (len(in_flight), in_flight.bytes) == (2, 150)
        in_flight.sent(1, 70)  # again: it counts once
        assert (len(in_flight), in_flight.bytes) == (2, 120)
        in_flight.settled(1)
        in_flight.settled(9)
        assert (len(in_flight), in_flight.bytes) == (1, 50)

    def test_the_age_is_that_of_the_oldest(self) -> None:
        in_flight = InFlight()
        assert in_flight.oldest_s == 0.0
        in_flight.sent(1, 1)
        time.sleep(0.05)
        in_flight.sent(2, 1)
        assert in_flight.oldest_s >= 0.05
        in_flight.settled(1)
        assert in_flight.oldest_s < 0.05

    def test_what_fills_the_bound_exactly_fits_and_a_larger_one_goes_alone(self) -> None:
        in_flight = InFlight()
        assert in_flight.fits(1000, 10)
        in_flight.sent(1, 60)
        assert in_flight.fits(40, 100)
        assert not in_flight.fits(41, 100)

    def test_what_was_under_way_when_the_stream_broke_is_in_doubt_in_its_order(self) -> None:
        in_flight = InFlight()
        in_flight.sent(5, 1)
        in_flight.sent(3, 1)
        in_flight.break_off()
        assert (list(in_flight.doubts), len(in_flight)) == ([5, 3], 0)
        in_flight.sent(9, 1)
        in_flight.break_off()
        assert list(in_flight.doubts) == [5, 3, 9]
        in_flight.settled(3)
        assert list(in_flight.doubts) == [5, 9]
        in_flight.begin()
        assert list(in_flight.doubts) == [5, 9]
        in_flight.forget_doubts()
        assert list(in_flight.doubts) == []

    def test_a_new_stream_has_nothing_under_way(self) -> None:
        in_flight = InFlight()
        in_flight.sent(1, 10)
        in_flight.begin()
        assert (len(in_flight), in_flight.bytes, list(in_flight.doubts)) == (0, 0, [])

    def test_of_too_many_doubts_the_oldest_are_forgotten(self) -> None:
        in_flight = InFlight()
        for sequence in range(MOST_DOUBTS + 2):
            in_flight.sent(sequence, 1)
        in_flight.break_off()
        assert list(in_flight.doubts) == list(range(2, MOST_DOUBTS + 2))


class TestBounds:
    def test_the_cloud_only_ever_tightens_and_0_does_not_bind(self) -> None:
        own = Bounds(packets=8, questions=32, message_bytes=1000)
        assert own.within(0, 0, 0) == own
        assert own.within(9, 33, 1001) == own
        tight = own.within(1, 2, 3)
        assert (tight.packets, tight.questions, tight.message_bytes) == (1, 2, 3)


class TestQueues:
    def test_memory_holds_64_packets_of_4_megabytes(self) -> None:
        small = [queued(n + 1) for n in range(MOST_IN_MEMORY)]
        assert not too_much(small)
        assert too_much([*small, queued(99)])
        exact = queued(1)
        exact.size = MOST_BYTES_IN_MEMORY
        assert not too_much([exact])
        assert too_much([exact, queued(2)])

    def test_what_is_removed_is_in_no_queue_and_its_questions_are_closed(self) -> None:
        queues = Queues()
        one, two = queued(1, 10, 11), queued(2, 20)
        for each in (one, two):
            queues.add(each)
            queues.live.append(each)
            queues.sent(each)
        queues.behind.append(one)
        queues.remove(one)
        assert list(queues.packets) == [2]
        assert list(queues.asked) == [20]
        assert (list(queues.live), list(queues.behind)) == ([two], [])
        assert [asked.id for asked in queues.asking] == [20]

    def test_an_answer_closes_its_question_alone(self) -> None:
        queues = Queues()
        one = queued(1, 10, 11)
        queues.add(one)
        assert queues.answered(10) == (question(10, 1), one)
        assert list(one.questions) == [11]
        assert queues.answered(10) is None
        assert queues.answered(99) is None

    def test_all_that_is_live_is_said_again_in_the_order_of_adding(self) -> None:
        queues = Queues()
        for each in (queued(3, 1, 2), queued(1, live=False), queued(2)):
            queues.add(each)
            queues.sent(each)
        assert queues.send_all_again() == 4
        assert [p.sequence for p in queues.live] == [3, 2]
        assert [p.sequence for p in queues.behind] == [1]
        assert not queues.asking

    def test_the_next_is_the_oldest_or_the_newest_that_is_not_held(self) -> None:
        queues = Queues()
        for n in (1, 2, 3):
            queues.live.append(queued(n))
        queues.live[0].held = queues.live[2].held = True
        taken = [
            queues.next_live(newest=newest, still=still)
            for newest in (False, True)
            for still in (False, True)
        ]
        assert [p and p.sequence for p in taken] == [1, 2, 3, 2]
        queues.live[1].held = True
        assert queues.next_live(newest=True, still=True) is None

    def test_counts_are_of_live_unsettled_owed_and_kept(self) -> None:
        queues = Queues()
        one, two, three, four = queued(1), queued(2), queued(3, live=False), queued(4, live=False)
        for each in (one, two, three, four):
            queues.add(each)
        two.settled = True
        queues.behind.append(four)
        one.entry = Entry(1, 0, 0, 0, b"", ())
        three.entry, three.disk_fault = one.entry, Fate.DISK_FULL
        assert (queues.unsettled, queues.owing, queues.on_disk) == (1, 1, 1)


def test_a_packet_from_the_spool_is_late_and_has_its_questions() -> None:
    packet = tokens_pb2.FramePacket(sequence=7, layers=[b"abc"])
    raw = packet.SerializeToString()
    entry = Entry(7, 0, 0, 0, raw, (Asked(4, asking("who?")), Asked(3, asking("what?"))))
    it = QueuedPacket.of(entry)
    assert (it.sequence, it.size, it.live, it.on_disk) == (7, len(raw), False, True)
    assert it.deadline_s == -math.inf
    assert [(q.id, q.sequence, q.text) for q in it.questions.values()] == [
        (4, 7, "who?"),
        (3, 7, "what?"),
    ]


async def streaming(**bounds: object) -> Outbox:
    outbox = Outbox(Bounds(**bounds))  # type: ignore[arg-type]
    await outbox.rewind([])
    return outbox


async def said(outbox: Outbox, in_flight: int = 0, open_questions: int = 0) -> str | None:
    """The next message as "p1" or "q1"; None where the bounds allow none."""
    flying, asked = range(in_flight), range(open_questions)
    try:
        message = await asyncio.wait_for(outbox.next(flying, asked), 0.02)
    except asyncio.TimeoutError:
        return None
    assert message is not None
    kind = message.WhichOneof("kind")
    return f"p{message.packet.sequence}" if kind == "packet" else f"q{message.question.id}"


class TestWhatIsSaidNext:
    def test_as_many_packets_and_questions_as_the_bounds_and_not_one_more(self) -> None:
        async def play() -> None:
            outbox = await streaming(packets=2, questions=2)
            await outbox.add(queued(1, 10))
            assert await said(outbox, in_flight=2) is None
            assert await said(outbox, in_flight=1) == "p1"
            assert await said(outbox, open_questions=2) is None
            assert await said(outbox, in_flight=9, open_questions=1) == "q10"

        asyncio.run(play())

    def test_bytes_under_way_are_bounded_and_a_large_packet_goes_alone(self) -> None:
        async def play() -> None:
            outbox = await streaming(bytes=1000)
            for n, size in ((1, 2000), (2, 400), (3, 400), (4, 400)):
                await outbox.add(queued(n, size=size))
            assert await said(outbox) == "p1"
            assert await said(outbox) is None
            assert outbox.state().unacknowledged_bytes > 2000
            await outbox.settle(1)
            assert [await said(outbox) for _ in range(3)] == ["p2", "p3", None]
            assert (outbox.state().unacknowledged, outbox.state().waiting) == (2, 1)

        asyncio.run(play())

    def test_a_camera_says_the_newest_and_a_recording_the_oldest(self) -> None:
        async def play(live: bool) -> list[str | None]:
            outbox = await streaming(live=live)
            for n in (1, 2, 3):
                await outbox.add(queued(n))
            return [await said(outbox) for _ in range(3)]

        assert asyncio.run(play(live=False)) == ["p1", "p2", "p3"]
        assert asyncio.run(play(live=True)) == ["p3", "p2", "p1"]

    def test_a_refusal_gives_back_the_open_questions_and_forgets_the_packet(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            await outbox.add(queued(1, 10, 11))
            await said(outbox)
            await outbox.answered(10)
            assert [q.id for q in await outbox.refuse(1, "limit")] == [11]
            assert await outbox.refuse(1, "limit") == []
            assert (outbox.empty, outbox.state().unacknowledged) == (True, 0)
            assert await said(outbox) is None

        asyncio.run(play())

    def test_what_was_under_way_is_in_doubt_after_the_stream(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            for n in (1, 2):
                await outbox.add(queued(n))
                await said(outbox)
            await outbox.settle(1)
            outbox.suspend()
            assert (list(outbox.doubts), outbox.state().streaming) == ([2], False)
            outbox.renew()
            assert list(outbox.doubts) == []

        asyncio.run(play())

    def test_after_close_nothing_is_said_although_there_is_something(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            await outbox.add(queued(1))
            await outbox.close()
            assert await outbox.next((), ()) is None

        asyncio.run(play())

    def test_more_questions_than_the_bound_go_one_frame_at_a_time(self) -> None:
        async def play() -> None:
            outbox = await streaming(questions=2)
            await asyncio.wait_for(outbox.add(queued(1, 10, 11, 12)), 1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(outbox.room(1), 0.02)
            for n in (10, 11):
                await outbox.answered(n)
            await asyncio.wait_for(outbox.room(1), 1)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(outbox.room(2), 0.02)

        asyncio.run(play())

    def test_what_is_late_on_a_new_stream_waits_behind_what_is_live(self) -> None:
        async def play() -> None:
            outbox = await streaming(live=True)
            late = queued(1)
            await outbox.add(late)
            await outbox.add(queued(2))
            late.deadline_s = time.monotonic() - 1
            assert await outbox.rewind([]) == 1
            assert [await said(outbox) for _ in range(2)] == ["p2", "p1"]

        asyncio.run(play())

    def test_a_packet_that_is_late_when_added_is_not_live(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            late = queued(1)
            late.deadline_s = time.monotonic() - 0.001
            await outbox.add(late)
            assert (late.live, outbox.unsettled) == (False, 0)
            assert await said(outbox) == "p1"

        asyncio.run(play())

    def test_the_backlog_is_bounded_in_packets_and_in_bytes(self) -> None:
        async def backlog(**bounds: object) -> list[str | None]:
            outbox = await streaming(**{"backlog_bytes_per_s": math.inf, **bounds})
            for n in range(1, 5):
                late = queued(n, size=200)
                late.deadline_s = 0.0
                await outbox.add(late)
            return [await said(outbox) for _ in range(4)]

        assert asyncio.run(backlog(backlog_packets=2)) == ["p1", "p2", None, None]
        assert asyncio.run(backlog(backlog_bytes=700)) == ["p1", "p2", "p3", None]
        assert asyncio.run(backlog(backlog_bytes_per_s=0.0)) == [None] * 4
        assert asyncio.run(backlog(backlog_bytes_per_s=100.0)) == ["p1", None, None, None]


class Heard:
    """What is told of what a cloud says to an outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self.told: list[object] = []
        self.handler = CloudMessageHandler(
            outbox, self.told.append, ("north", "south"), epoch_unix_ms=0
        )

    async def __call__(self, **kind: object) -> list[object]:
        self.told.clear()
        await self.handler.handle(pb.CloudMessage(**kind))  # type: ignore[arg-type]
        return list(self.told)


class TestHearing:
    def test_an_acknowledgement_says_how_long_its_packet_took_and_whether_it_was_live(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            hear = Heard(outbox)
            await outbox.add(queued(1))
            hear.handler.sent_s[1] = time.monotonic() - 2.0
            ack = pb.Acknowledgement(sequence=1, bytes=77, stored=True, received_unix_ms=5)
            (told,) = await hear(ack=ack)
            assert isinstance(told, Acknowledged)
            assert (told.sequence, told.packet_bytes, told.stored) == (1, 77, True)
            assert (told.received_unix_ms, told.live) == (5, True)
            assert 2000 <= told.round_trip_ms < 3000
            (again,) = await hear(ack=ack)
            assert isinstance(again, Acknowledged)
            assert again.round_trip_ms < 1000

        asyncio.run(play())

    def test_an_answer_comes_in_pieces_and_whole_with_its_camera(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            hear = Heard(outbox)
            asked = queued(3, 10)
            asked.packet.camera = 1
            await outbox.add(asked)
            first = pb.AnswerChunk(question_id=10, sequence=3, text="two")
            assert await hear(answer=first) == [AnswerPiece(10, 3, "two")]
            last = pb.AnswerChunk(
                question_id=10, sequence=3, text=" cars", last=True, finish="length"
            )
            last.timing.add(stage="prefill", ms=1.5)
            piece, whole = await hear(answer=last)
            assert piece == AnswerPiece(10, 3, " cars")
            assert isinstance(whole, Answered)
            assert (whole.text, whole.finish, whole.camera) == ("two cars", "length", "south")
            assert (whole.packet_bytes, whole.timing.stages) == (asked.size, {"prefill": 1.5})

        asyncio.run(play())

    def test_an_empty_last_piece_is_no_piece(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            hear = Heard(outbox)
            await outbox.add(queued(3, 10))
            (whole,) = await hear(answer=pb.AnswerChunk(question_id=10, sequence=3, last=True))
            assert isinstance(whole, Answered)
            assert (whole.text, whole.finish) == ("", "stop")

        asyncio.run(play())

    def test_a_refused_packet_refuses_each_of_its_questions(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            hear = Heard(outbox)
            await outbox.add(queued(3, 10, 11))
            told = await hear(failure=pb.Failure(code="limit", message="too many", sequence=3))
            assert all(isinstance(each, Refused) for each in told)
            seen = [(each.sequence, each.question) for each in told if isinstance(each, Refused)]
            assert seen == [(3, ""), (3, "what is 10?"), (3, "what is 11?")]
            assert outbox.empty

        asyncio.run(play())

    def test_a_refused_question_leaves_the_others_open(self) -> None:
        async def play() -> None:
            outbox = await streaming()
            hear = Heard(outbox)
            await outbox.add(queued(3, 10, 11))
            (told,) = await hear(failure=pb.Failure(code="limit", message="no", question_id=10))
            assert isinstance(told, Refused)
            assert (told.sequence, told.question) == (3, "what is 10?")
            assert not outbox.empty

        asyncio.run(play())

    def test_the_clouds_bound_is_told_as_it_is_said(self) -> None:
        async def play() -> None:
            hear = Heard(await streaming())
            budget = pb.Budget(reason="busy", frames_per_minute=12)
            assert await hear(budget=budget) == [CloudBudget(12, "busy")]

        asyncio.run(play())
