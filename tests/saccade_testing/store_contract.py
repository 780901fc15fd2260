"""What every durable store promises; a test class per database inherits these tests."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from saccade.errors import PacketError
from saccade.types import Probability
from saccade_cloud.store.database import Database
from saccade_cloud.store.retention import Retention
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.store_types import Observation, PacketRecord, SessionFacts

T = TypeVar("T")

S = 10**9
DAY = 86_400 * S
HIGHEST = (1 << 64) - 1
FACTS = SessionFacts(
    device="kerb",
    boot=HIGHEST - 5,
    epoch_unix_ms=1_700_000_000_000,
    cameras=("north", "s\u00fcd"),
    token_digest=bytes(range(32)),
    software="saccade 0.1",
)


def record(
    sequence: int,
    payload: bytes = b"",
    *,
    facts: SessionFacts = FACTS,
    camera: str = "north",
    came_ns: int = 0,
) -> PacketRecord:
    return PacketRecord(
        session=facts,
        sequence=sequence,
        camera=camera,
        captured_ns=(sequence % 1000) * S,
        received_ns=came_ns or time.time_ns(),
        payload=payload or b"packet %d " % sequence * 20,
    )


def noted(
    sequence: int, answer: str = "two", *, question: str = "how many ?", came_ns: int = 0
) -> Observation:
    return Observation(
        device="kerb",
        camera="north",
        boot=FACTS.boot,
        sequence=sequence,
        captured_ns=sequence * S,
        identity=hashlib.sha256(question.encode()).digest(),
        question=question,
        answer=answer,
        finish="stop",
        packet_bytes=300,
        answered_ns=came_ns or time.time_ns(),
    )


async def put(store: SqlStore, *records: PacketRecord) -> list[bool]:
    """Each on its own, at once; raises what a commit raises."""
    return await asyncio.gather(*[await store.put(each) for each in records])


async def history(
    store: SqlStore, since_ns: int = 0, until_ns: int = 1 << 62, limit: int = 0
) -> list[Observation]:
    return [each async for each in store.history("kerb", "north", since_ns, until_ns, limit)]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another process's transaction: nobody else writes."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


class StoreContract:
    """Subclasses give an empty database."""

    def empty(self) -> Callable[[], Database]:
        """A function that opens the same database anew each time."""
        raise NotImplementedError

    @pytest.fixture
    def database(self) -> Callable[[], Database]:
        return self.empty()

    def run(
        self,
        database: Callable[[], Database],
        work: Callable[[SqlStore], Awaitable[T]],
        retention: Retention | None = None,
    ) -> T:
        """``work`` with an open store, which is closed afterwards."""

        async def main() -> T:
            store = SqlStore(database(), retention)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(main())

    def test_what_is_stored_is_there_after_a_restart_with_its_session(
        self, database: Callable[[], Database]
    ) -> None:
        sent = [record(1), record(HIGHEST, camera="s\u00fcd")]
        assert self.run(database, lambda store: put(store, *sent)) == [True, True]

        async def look(store: SqlStore) -> None:
            for each in sent:
                assert await store.packet(*each.identity) == each
            assert await store.packet("kerb", FACTS.boot, 2) is None
            assert await store.packet("mast", FACTS.boot, 1) is None

        self.run(database, look)

    def test_a_resend_changes_nothing_and_is_stored(self, database: Callable[[], Database]) -> None:
        first = record(7)

        async def work(store: SqlStore) -> None:
            assert await put(store, first) == [True]
            again = replace(first, received_ns=first.received_ns + S)
            assert await put(store, again, again, record(8), record(8)) == [True] * 4
            totals = await store.totals()
            assert (totals.cameras[0].packets, totals.conflicts) == (2, 0)
            assert await store.packet(*first.identity) == first

        self.run(database, work)

    def test_another_packet_under_the_same_identity_is_refused_and_counted(
        self, database: Callable[[], Database]
    ) -> None:
        async def work(store: SqlStore) -> None:
            same_batch = [await store.put(record(1, text)) for text in (b"first", b"other")]
            assert await same_batch[0]
            with pytest.raises(PacketError, match="another packet 1 of this boot of 'kerb'"):
                await same_batch[1]
            later = [
                record(1, b"later"),
                replace(record(1, b"first"), camera="s\u00fcd"),
                replace(record(1, b"first"), captured_ns=5),
            ]
            for other in later:
                with pytest.raises(PacketError, match="it stays"):
                    await put(store, other)
            stored = await store.packet(*later[0].identity)
            assert stored is not None
            assert stored.payload == b"first"
            assert (await store.totals()).conflicts == 4

        self.run(database, work)

    def test_the_same_sequence_of_another_boot_or_device_is_another_packet(
        self, database: Callable[[], Database]
    ) -> None:
        others = [replace(FACTS, boot=0), replace(FACTS, device="mast")]

        async def work(store: SqlStore) -> None:
            for facts in (FACTS, *others):
                assert await put(store, record(1, facts.device.encode(), facts=facts)) == [True]
            assert (await store.totals()).conflicts == 0

        self.run(database, work)

    def test_it_says_where_to_resume_and_what_is_stored_of_what_is_in_doubt(
        self, database: Callable[[], Database]
    ) -> None:
        async def work(store: SqlStore) -> None:
            assert await store.resume_after("kerb", FACTS.boot) == 0
            assert await store.stored("kerb", FACTS.boot, [1, 2]) == []
            await put(store, record(2), record(9), record(5))
            assert await store.resume_after("kerb", FACTS.boot) == 9
            assert await store.resume_after("kerb", 0) == 0
            assert await store.stored("kerb", FACTS.boot, [9, 1, 2, 3, HIGHEST]) == [2, 9]
            await put(store, record(HIGHEST))
            assert await store.resume_after("kerb", FACTS.boot) == HIGHEST
            assert await store.stored("kerb", FACTS.boot, range(1024)) == [2, 5, 9]

        self.run(database, work)

    def test_history_is_what_was_observed_in_the_order_of_capture(
        self, database: Callable[[], Database]
    ) -> None:
        async def work(store: SqlStore) -> None:
            await asyncio.gather(*(store.note(noted(n)) for n in (3, 1, 2)))
            await store.note(noted(2, "red", question="which colour ?"))
            assert [each.sequence for each in await history(store)] == [1, 2, 2, 3]
            assert [each.sequence for each in await history(store, 2 * S, 3 * S)] == [2, 2]
            assert [each.sequence for each in await history(store, limit=1)] == [1]
            assert [o async for o in store.history("kerb", "south", 0, 1 << 62, 0)] == []

        self.run(database, work)

    def test_an_observation_again_changes_nothing(self, database: Callable[[], Database]) -> None:
        first = noted(1, "two \u20ac")

        async def work(store: SqlStore) -> None:
            await store.note(first)
            await asyncio.gather(store.note(noted(1, "three")), store.note(noted(1, "four")))
            assert await history(store) == [first]
            await store.note(replace(noted(1, "t"), identity=bytes(32)))
            assert len(await history(store)) == 2, "cut short it is another answer"

        self.run(database, work)

    def test_a_long_history_is_read_in_pages(self, database: Callable[[], Database]) -> None:
        async def work(store: SqlStore) -> None:
            questions = [f"question {n:03}" for n in range(300)]
            notes = (
                replace(noted(1, question=question), sequence=sequence)
                for question in questions
                for sequence in (1, 2)
            )
            await asyncio.gather(*(store.note(each) for each in notes))
            found = await history(store)
            assert len({(each.sequence, each.question) for each in found}) == 600 == len(found)
            assert [each.sequence for each in found] == [1] * 300 + [2] * 300
            assert await history(store, limit=257) == found[:257]

        self.run(database, work)

    def test_an_answer_keeps_its_probability(self, database: Callable[[], Database]) -> None:
        async def work(store: SqlStore) -> None:
            sure = replace(noted(1), probability=Probability(0.9876543210123, 0.125))
            await store.note(sure)
            await store.note(noted(2))
            assert [each.probability for each in await history(store)] == [sure.probability, None]

        self.run(database, work)

    def test_what_came_too_long_ago_is_deleted_with_its_session(
        self, database: Callable[[], Database]
    ) -> None:
        now = time.time_ns()
        past = replace(FACTS, boot=3)

        async def fill(store: SqlStore) -> None:
            old = [record(n, facts=past, came_ns=now - 3 * DAY + n) for n in range(1, 1200)]
            await put(store, *old, record(1, came_ns=now - 3 * DAY), record(2, came_ns=now))
            await store.note(noted(1, came_ns=now - 3 * DAY))
            await store.note(noted(2, came_ns=now))

        self.run(database, fill)

        async def look(store: SqlStore) -> None:
            await store.tend()
            totals = await store.totals()
            assert [(c.packets, c.observations) for c in totals.cameras] == [(1, 1)]
            kept = await store.packet("kerb", FACTS.boot, 2)
            assert kept is not None
            assert kept.session == FACTS
            assert await store.resume_after("kerb", 3) == 0
            assert [each.sequence for each in await history(store)] == [2]

        self.run(database, look, Retention(keep_days=2))

    def test_the_oldest_make_room_when_it_is_too_much(
        self, database: Callable[[], Database]
    ) -> None:
        sent = [record(n, bytes(1000), came_ns=n * S) for n in range(1, 1501)]
        self.run(database, lambda store: put(store, *sent))

        async def work(store: SqlStore) -> None:
            await store.tend()
            used = (await store.totals()).used_bytes
            assert 300_000 < used <= 500_000
            kept = await store.stored("kerb", FACTS.boot, range(1501))
            assert 200 < len(kept) < 450
            assert kept == list(range(1501 - len(kept), 1501))
            assert await put(store, record(1501)) == [True]

        self.run(database, work, Retention(keep_bytes=500_000))

    def test_a_device_that_sends_a_lot_shortens_its_own_past_only(
        self, database: Callable[[], Database]
    ) -> None:
        """The quiet ones came first: oldest first, over all, they would be gone."""
        quiet = [replace(FACTS, device=f"quiet {n}") for n in range(3)]
        greedy = replace(FACTS, device="greedy")
        few = [record(n, came_ns=n * S, facts=facts) for n in range(1, 26) for facts in quiet]
        many = [record(n, bytes(2000), came_ns=(n + 99) * S, facts=greedy) for n in range(1, 501)]

        async def fill(store: SqlStore) -> None:
            await put(store, *few)
            await store.note(replace(noted(1, came_ns=S), device="quiet 0"))
            await put(store, *many)

        async def work(store: SqlStore) -> None:
            await store.tend()
            assert (await store.totals()).used_bytes <= 500_000
            for facts in quiet:
                kept = await store.stored(facts.device, FACTS.boot, range(1000))
                assert kept == list(range(1, 26))
            assert [o async for o in store.history("quiet 0", "north", 0, 1 << 62, 0)]
            kept = await store.stored("greedy", FACTS.boot, range(1000))
            assert 50 < len(kept) < 250
            assert kept[-1] == 500

        self.run(database, fill)
        self.run(database, work, Retention(keep_bytes=500_000))

    def test_sessions_without_end_are_their_devices_too(
        self, database: Callable[[], Database]
    ) -> None:
        """Each packet with a hello of its own, of 64 long names, most of what it takes."""
        names = tuple(f"{n:02}" + "\U0001f4f7" * 62 for n in range(64))
        many = [
            record(n, b"small", came_ns=(n + 9) * S, facts=replace(FACTS, boot=n, cameras=names))
            for n in range(1, 41)
        ]
        few = [record(n, bytes(2000), came_ns=n, facts=replace(FACTS, device="quiet"))
               for n in range(1, 51)]  # fmt: skip

        async def fill(store: SqlStore) -> None:
            await put(store, *few)
            await put(store, *many)

        async def work(store: SqlStore) -> None:
            await store.tend()
            assert (await store.totals()).used_bytes <= 700_000
            assert len(await store.stored("quiet", FACTS.boot, range(100))) == 50
            assert await store.stored("kerb", 40, [40]) == [40]

        self.run(database, fill)
        self.run(database, work, Retention(keep_bytes=700_000))

    def test_devices_that_hold_alike_make_room_alike(
        self, database: Callable[[], Database]
    ) -> None:
        devices = [replace(FACTS, device=f"device {n}") for n in range(4)]
        sent = [
            record(n, bytes(1000), came_ns=n * S, facts=facts)
            for n in range(1, 201)
            for facts in devices
        ]

        async def work(store: SqlStore) -> None:
            await store.tend()
            kept = [
                len(await store.stored(facts.device, FACTS.boot, range(1000))) for facts in devices
            ]
            assert min(kept) > 60
            assert max(kept) - min(kept) <= max(kept) // 10

        self.run(database, lambda store: put(store, *sent))
        self.run(database, work, Retention(keep_bytes=500_000))

    def test_packets_come_in_while_others_are_deleted(
        self, database: Callable[[], Database]
    ) -> None:
        old = [record(n, came_ns=n * S) for n in range(1, 2001)]
        self.run(database, lambda store: put(store, *old))

        async def work(store: SqlStore) -> None:
            tending = asyncio.create_task(store.tend())
            for n in range(3000, 3050):
                assert await put(store, record(n)) == [True]
            await tending
            assert (await store.totals()).cameras[0].packets == 50

        self.run(database, work, Retention(keep_days=1))
