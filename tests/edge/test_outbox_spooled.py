"""An outbox over a real spool: what leaves memory for the disk, and how each packet ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from saccade.turns import asking
from saccade.v1 import tokens_pb2
from saccade_edge.spool import Asked, Entry, Fate
from saccade_edge.uplink.link_state import Bounds
from saccade_edge.uplink.outbox import UNSTORED_PAUSE_S, Outbox
from saccade_edge.uplink.packet_queues import MOST_IN_MEMORY
from saccade_edge.uplink.queued_packet import OpenQuestion, QueuedPacket
from saccade_edge.uplink.spool_transfer import PAGE_BYTES, PAGE_PACKETS
from saccade_testing.spools import Opened, accounted, opened

DELIVERED = Fate.DELIVERED.value


class Edge:
    """``said``: sequences in the order in which they were said."""

    def __init__(self, opened: Opened, **bounds: Any) -> None:
        self.spool = opened.spool
        chosen = {"live": True, "packets": 1000, "backlog_bytes_per_s": math.inf, **bounds}
        self.outbox = Outbox(Bounds(**chosen), self.spool)
        self.said: list[int] = []

    async def add(self, *questions: str, size: int = 10, late: bool = False) -> QueuedPacket:
        sequence = self.spool.next_sequence()
        packet = tokens_pb2.FramePacket(sequence=sequence, layers=[bytes(size)])
        asked = tuple(Asked(self.spool.next_question(), asking(text)) for text in questions)
        now_ms = time.time_ns() // 1_000_000
        entry = Entry(sequence, 0, now_ms, now_ms, packet.SerializeToString(), asked)
        queued = QueuedPacket(
            packet,
            {q.id: OpenQuestion(q.id, sequence, q.question) for q in asked},
            deadline_s=0.0 if late else math.inf,
            entry=entry,
        )
        await self.outbox.add(queued)
        return queued

    async def say(self, most: int = 1000) -> list[int]:
        """What may be said now, packets only."""
        said: list[int] = []
        while len(said) < most:
            try:
                message = await asyncio.wait_for(self.outbox.next((), ()), 0.05)
            except asyncio.TimeoutError:
                break
            if message is not None and message.HasField("packet"):
                said.append(message.packet.sequence)
        self.said += said
        return said

    async def counts(self, **expected: int) -> None:
        """Once the spool has written them down."""
        counts: dict[str, int] = {}
        for _ in range(400):
            counts = dict(self.spool.report().counts)
            if counts == expected:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{counts}, not {expected}")


def play(path: Path, test: Callable[[Edge], Awaitable[None]], **bounds: Any) -> None:
    async def main() -> None:
        async with opened(path / "spool") as spool:
            await test(Edge(spool, **bounds))
            assert accounted(spool.spool)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_packet_that_is_late_leaves_the_memory_and_comes_back_in_a_page(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        await edge.add(late=True)
        await edge.add(late=True)
        assert await edge.say() == []
        assert (edge.outbox.state().backlog, edge.outbox.empty) == (2, False)
        await edge.outbox.tend()
        assert await edge.say() == [1, 2]
        for sequence in (1, 2):
            await edge.outbox.settle(sequence)
        await edge.counts(handed=2, delivered=2)
        assert edge.outbox.empty

    play(tmp_path, test)


def test_a_live_packet_whose_time_passes_falls_behind(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        first, second = await edge.add(), await edge.add()
        first.deadline_s = time.monotonic() - 0.001
        await edge.outbox.tend()
        assert (first.live, second.live) == (False, True)
        assert edge.outbox.state().waiting == 1
        assert await edge.say() == [2, 1]  # live first, then the page that tending fetched

    play(tmp_path, test)


def test_a_page_has_32_packets_and_the_next_is_fetched_when_few_are_left(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        for _ in range(80):
            await edge.add(late=True)
        await edge.outbox.tend()
        await edge.outbox.tend()
        assert await edge.say(PAGE_PACKETS // 2) == list(range(1, 17))
        await edge.outbox.tend()  # 16 of a page are left: enough
        assert await edge.say(17) == list(range(17, 33))
        await edge.outbox.tend()
        assert await edge.say(17) == list(range(33, 50))
        await edge.outbox.tend()  # 15 are left
        assert await edge.say() == list(range(50, 81))

    play(tmp_path, test, backlog_packets=1000, backlog_bytes=1 << 30)


def test_a_page_is_bounded_in_bytes(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        for _ in range(4):
            await edge.add(size=PAGE_BYTES // 3 + 1, late=True)
        await edge.outbox.tend()
        assert await edge.say() == [1, 2]

    play(tmp_path, test, backlog_packets=1000, backlog_bytes=1 << 30)


def test_nothing_is_fetched_without_a_stream_or_while_the_pace_allows_nothing(
    tmp_path: Path,
) -> None:
    async def test(edge: Edge) -> None:
        await edge.add(late=True)
        await edge.outbox.tend()
        await edge.outbox.rewind([])
        assert await edge.say() == []
        edge.outbox.pace.set(0.0)
        await edge.outbox.tend()
        assert await edge.say() == []
        edge.outbox.pace.set(math.inf)
        await edge.outbox.tend()
        assert await edge.say() == [1]

    play(tmp_path, test)


def test_a_packet_larger_than_the_cloud_takes_ends_as_refused(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        small, large = await edge.add(late=True), await edge.add(size=11, late=True)
        edge.outbox.bound(0, 0, small.size)
        assert large.size == small.size + 1
        await edge.outbox.rewind([])
        await edge.outbox.tend()
        assert await edge.say() == [1]
        await edge.counts(handed=2, **{"refused:limit": 1})

    play(tmp_path, test)


def test_bytes_that_are_no_packet_end_as_damaged(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        sequence = edge.spool.next_sequence()
        await edge.spool.put(
            Entry(sequence, 0, time.time_ns() // 1_000_000, 0, b"\xff" * 9), sending=False
        )
        edge.spool.release(sequence)
        await edge.outbox.rewind([])
        await edge.outbox.tend()
        assert await edge.say() == []
        await edge.counts(handed=1, damaged=1)

    play(tmp_path, test)


def test_the_65th_live_packet_pushes_the_oldest_to_the_disk(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        packets = [await edge.add() for _ in range(MOST_IN_MEMORY)]
        assert edge.outbox.state().waiting == MOST_IN_MEMORY
        await edge.add()
        assert edge.outbox.state().waiting == MOST_IN_MEMORY
        assert [queued.live for queued in packets[:2]] == [False, True]
        assert edge.outbox.unsettled == MOST_IN_MEMORY

    play(tmp_path, test)


def test_a_refused_packet_is_counted_by_its_code_and_a_stored_one_as_delivered(
    tmp_path: Path,
) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        await edge.add("what is it?")
        await edge.add()
        await edge.add()
        await edge.say()
        assert [q.text for q in await edge.outbox.refuse(1, "packet")] == ["what is it?"]
        await edge.outbox.settle(2)
        await edge.counts(handed=3, delivered=1, **{"refused:packet": 1})
        assert edge.spool.waiting == 1

    play(tmp_path, test)


def test_a_packet_is_delivered_once_its_last_question_is_answered(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        await edge.add("one?", "two?")
        await edge.say()
        await edge.outbox.settle(1)
        await edge.outbox.answered(1)
        await edge.counts(handed=1)
        assert edge.outbox.unsettled == 0
        assert not edge.outbox.empty
        await edge.outbox.answered(2)
        await edge.counts(handed=1, delivered=1)

    play(tmp_path, test)


def test_what_the_cloud_did_not_store_falls_behind_and_the_backlog_pauses(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        assert UNSTORED_PAUSE_S == 30.0
        await edge.outbox.rewind([])
        queued = await edge.add()
        await edge.say()
        await edge.outbox.settle(1, stored=False)
        assert (queued.live, edge.outbox.empty) == (False, False)
        assert not edge.outbox.pace.allows()
        await edge.outbox.tend()
        assert await edge.say() == []
        await edge.counts(handed=1)

    play(tmp_path, test)


def test_what_the_cloud_has_stored_of_what_is_in_doubt_is_delivered(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        for asked in ((), (), ("what?",)):
            await edge.add(*asked)
        await edge.say()
        edge.outbox.suspend()
        assert sorted(edge.outbox.doubts) == [1, 2, 3]
        assert await edge.outbox.rewind([1, 3]) == 3  # 2, and 3 with its question
        await edge.counts(handed=3, delivered=1)
        assert sorted(await edge.say()) == [2, 3]

    play(tmp_path, test)


def test_a_stored_packet_that_only_the_disk_has_is_delivered_unless_it_is_asked_about(
    tmp_path: Path,
) -> None:
    async def test(edge: Edge) -> None:
        await edge.add(late=True)
        await edge.add("what?", late=True)
        await edge.outbox.rewind([1, 2])
        await edge.counts(handed=2, delivered=1)
        assert edge.spool.waiting == 1

    play(tmp_path, test)


def test_retiring_leaves_the_backlog_on_disk_and_waits_for_what_is_live(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        await edge.add(late=True)
        await edge.outbox.tend()  # in memory, not said
        await edge.add()
        await edge.outbox.retire()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(edge.outbox.drained(), 0.05)
        assert await edge.say() == [2]
        await edge.outbox.settle(2)
        await asyncio.wait_for(edge.outbox.drained(), 5)
        await edge.outbox.tend()
        assert await edge.say() == []
        await edge.counts(handed=2, delivered=1)
        assert edge.spool.waiting == 1

    play(tmp_path, test)


def test_after_a_retirement_nobody_waits_for_a_stream_that_is_gone(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        await edge.add()
        await edge.say()
        await edge.outbox.retire()
        edge.outbox.suspend()
        await asyncio.wait_for(edge.outbox.drained(), 5)

    play(tmp_path, test)


def test_what_may_be_said_is_written_down_before_it_is(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.add()
        await edge.add()
        assert edge.spool.sent_until == 0
        await edge.outbox.rewind([])
        assert edge.spool.sent_until == 2
        await edge.add()
        assert edge.spool.sent_until == 3
        edge.outbox.suspend()
        await edge.add()
        assert edge.spool.sent_until == 3

    play(tmp_path, test)


def test_what_memory_alone_has_is_counted_by_the_disks_fault_at_the_end(tmp_path: Path) -> None:
    async def test(edge: Edge) -> None:
        await edge.outbox.rewind([])
        packets = [await edge.add() for _ in range(3)]
        await edge.say()
        await edge.outbox.settle(3)
        for queued in packets[:2]:
            edge.spool.forget(queued.sequence)
        packets[0].disk_fault = Fate.DISK_FULL
        packets[1].disk_fault = Fate.STALLED
        packets[1].settled = True
        edge.outbox.abandon()
        await edge.counts(handed=3, delivered=2, disk_full=1)
        assert edge.outbox.empty

    play(tmp_path, test)
