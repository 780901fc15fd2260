"""What a store counts, gives back and deletes, with every number worked out by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from saccade.errors import ConfigError, StorageError
from saccade_cloud.store.database import Database, reading, require_newest, writing
from saccade_cloud.store.migrations import NEWEST, check_known, migrate, version_of
from saccade_cloud.store.retention import Retention
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.sqlite_database import SqliteDatabase
from saccade_cloud.store.store_opening import default_store, open_database
from saccade_cloud.store.store_schema import signed, unsigned
from saccade_cloud.store.store_types import CameraTotals, Observation, SessionFacts
from saccade_cloud.store.writing import ROW_BYTES, row_bytes, session_key
from saccade_testing.store_contract import DAY, FACTS, HIGHEST, S, noted, put, record

T = TypeVar("T")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return SqliteDatabase(tmp_path / "store.db")


def run(database: Database, work: Callable[[SqlStore], Awaitable[T]]) -> T:
    async def main() -> T:
        store = SqlStore(database)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(main())


def counted(database: Database) -> tuple[int, int]:
    """Bytes and conflicts as the store has them without a walk through its rows."""
    with reading(database) as connection:
        row = connection.exec_driver_sql("SELECT bytes, conflicts FROM total").one()
    return int(row[0]), int(row[1])


async def of(store: SqlStore, device: str, camera: str, **span: int) -> list[Observation]:
    chosen = {"since_ns": 0, "until_ns": 1 << 62, "limit": 0, **span}
    return [each async for each in store.history(device, camera, **chosen)]


def test_totals_are_by_device_and_camera_in_their_order(database: Database) -> None:
    mast = replace(FACTS, device="mast")

    async def work(store: SqlStore) -> None:
        await put(
            store,
            record(5, b"12345", camera="north"),
            record(9, b"1234567", camera="north"),
            record(7, b"1", camera="gate"),
            record(2, b"12", facts=mast, camera="north"),
        )
        await store.note(noted(5))
        await store.note(noted(5, question="which ?"))
        await store.note(replace(noted(1), camera="yard"))
        totals = await store.totals()
        assert list(totals.cameras) == [
            CameraTotals("kerb", "gate", 1, 1, 0, 7 * S, 7 * S),
            CameraTotals("kerb", "north", 2, 12, 2, 5 * S, 9 * S),
            CameraTotals("kerb", "yard", 0, 0, 1, 0, 0),
            CameraTotals("mast", "north", 1, 2, 0, 2 * S, 2 * S),
        ]
        assert totals.conflicts == 0
        assert totals.used_bytes > 0

    run(database, work)


def test_bytes_are_counted_once_for_each_new_row(database: Database) -> None:
    before: list[int] = []

    async def work(store: SqlStore) -> None:
        await put(store, record(9))  # its session is there from now on
        before.append(counted(database)[0])
        await put(store, record(1, b"12345"), record(1, b"12345"), record(2, b""))
        await put(store, record(1, b"12345"))
        await store.note(noted(1, "three", question="1234"))
        await store.note(noted(1, "other", question="1234"))

    run(database, work)
    assert (ROW_BYTES, row_bytes(7)) == (130, 137)
    payload = len(record(2).payload)
    added = counted(database)[0] - before[0]
    assert added == (130 + 5) + (130 + payload) + (130 + 9)


def test_a_conflict_is_counted_and_its_bytes_are_not(database: Database) -> None:
    before: list[int] = []

    async def work(store: SqlStore) -> None:
        await put(store, record(1, b"12345"))
        before.append(counted(database)[0])
        results = await asyncio.gather(
            *[await store.put(record(1, b"x" * n)) for n in (1, 2)], return_exceptions=True
        )
        device = "another packet 1 of this boot of 'kerb' is stored already"
        assert [str(error).startswith(device) for error in results] == [True, True]
        assert "this one of 2 bytes is refused" in str(results[1])

    run(database, work)
    assert counted(database) == (before[0], 2)


def test_history_begins_with_its_first_nanosecond_and_ends_before_its_last(
    database: Database,
) -> None:
    async def work(store: SqlStore) -> None:
        for n in (1, 2, 3):
            await store.note(noted(n))
        spans = [(S, 3 * S), (S + 1, 3 * S), (S, 3 * S + 1), (S, S), (S, S + 1)]
        found = [
            [o.sequence for o in await of(store, "kerb", "north", since_ns=a, until_ns=b)]
            for a, b in spans
        ]
        assert found == [[1, 2], [2], [1, 2, 3], [], [1]]
        for limit in (1, 2, 3, 4):
            assert len(await of(store, "kerb", "north", limit=limit)) == min(limit, 3)
        assert await of(store, "mast", "north") == []

    run(database, work)


def test_observations_come_back_as_they_were_noted(database: Database) -> None:
    full = Observation(
        device="kerb",
        camera="north",
        boot=HIGHEST,
        sequence=HIGHEST - 1,
        captured_ns=5 * S,
        identity=bytes(range(32)),
        question="what ?",
        answer="a car",
        finish="length",
        packet_bytes=321,
        answered_ns=123,
    )

    async def work(store: SqlStore) -> None:
        await store.note(full)
        assert await of(store, "kerb", "north") == [full]

    run(database, work)


def test_sequences_resume_after_the_highest_of_unsigned_64_bits(database: Database) -> None:
    half = 1 << 63

    async def work(store: SqlStore) -> None:
        for sequence, highest in ((3, 3), (half - 1, half - 1), (half, half), (half + 5, half + 5)):
            await put(store, record(sequence))
            assert await store.resume_after("kerb", FACTS.boot) == highest
        await put(store, record(8))
        assert await store.resume_after("kerb", FACTS.boot) == half + 5
        assert await store.stored("kerb", FACTS.boot, [half, half - 1, 3, 4]) == [3, half - 1, half]

    run(database, work)


@pytest.mark.parametrize(
    ("number", "stored"),
    [(0, 0), ((1 << 63) - 1, (1 << 63) - 1), (1 << 63, -(1 << 63)), ((1 << 64) - 1, -1)],
)
def test_unsigned_numbers_are_stored_bit_by_bit(number: int, stored: int) -> None:
    assert signed(number) == stored
    assert unsigned(stored) == number


def test_a_session_is_known_by_all_that_its_hello_said() -> None:
    same = SessionFacts.of(FACTS.hello())
    assert same == FACTS
    changes = {
        "device": "mast", "boot": 1, "epoch_unix_ms": 1, "cameras": ("south",),
        "token_digest": bytes(32), "software": "other",
    }  # fmt: skip
    keys = {session_key(replace(FACTS, **{name: value})) for name, value in changes.items()}  # type: ignore[arg-type]
    assert len({session_key(same), *keys}) == 1 + len(changes)
    assert session_key(same) == session_key(FACTS)


class TestRetention:
    def fill(self, database: Database, *came_ns: int) -> None:
        async def work(store: SqlStore) -> None:
            for number, when in enumerate(came_ns, 1):
                await put(store, record(number, b"x" * 10, came_ns=when))
                await store.note(noted(number, "abcde", question="12345", came_ns=when))

        run(database, work)

    def kept(self, database: Database) -> list[int]:
        async def work(store: SqlStore) -> list[int]:
            await store.tend()
            packets = await store.stored("kerb", FACTS.boot, range(20))
            assert [o.sequence for o in await of(store, "kerb", "north")] == packets
            return packets

        return run(database, work)

    def test_without_bounds_everything_stays(self, database: Database) -> None:
        self.fill(database, 1, 2, 3)
        assert self.kept(database) == [1, 2, 3]

    def test_bytes_are_uncounted_with_their_rows(self, database: Database) -> None:
        now = time.time_ns()
        self.fill(database, now - 3 * DAY, now - DAY, now)
        before, _ = counted(database)
        while Retention(keep_days=2).step(database):
            pass
        assert counted(database) == (before - (140 + 140), 0)
        assert self.kept(database) == [2, 3]


class TestOpening:
    def test_who_only_reads_is_told_what_is_wrong_with_the_schema(self, database: Database) -> None:
        with pytest.raises(ConfigError, match="is no store of Saccade's"):
            require_newest(database)
        with writing(database) as connection:
            migrate(connection, database.bytes_type, to=1)
            assert version_of(connection) == 1
        with pytest.raises(ConfigError, match=f"has schema 1, this Saccade reads {NEWEST}"):
            require_newest(database)
        with writing(database) as connection:
            migrate(connection, database.bytes_type)
            assert version_of(connection) == NEWEST
        require_newest(database)

    def test_each_step_of_a_schema_is_taken_once(self, database: Database) -> None:
        for _ in range(2):
            with writing(database) as connection:
                migrate(connection, database.bytes_type)
        with reading(database) as connection:
            found = connection.exec_driver_sql("SELECT version FROM schema_version").scalars()
            assert list(found) == list(range(1, NEWEST + 1))

    def test_todays_schema_is_known_and_tomorrows_is_not(self) -> None:
        check_known(NEWEST)
        with pytest.raises(ConfigError, match=f"schema {NEWEST + 1} and this Saccade knows"):
            check_known(NEWEST + 1)

    def test_what_is_raised_in_a_transaction_takes_it_back(self, database: Database) -> None:
        class Stop(Exception):
            pass

        def half_done() -> None:
            with writing(database) as connection:
                migrate(connection, database.bytes_type)
                raise Stop

        with pytest.raises(Stop):
            half_done()
        with reading(database) as connection:
            assert version_of(connection) == 0

    def test_a_closed_store_takes_nothing_and_closes_twice(self, database: Database) -> None:
        async def main() -> None:
            store = SqlStore(database)
            await store.close()
            await store.close()
            with pytest.raises(StorageError, match="is closed"):
                await store.put(record(1))

        asyncio.run(main())

    def test_of_several_folders_of_a_service_the_first_is_taken(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b")
        assert default_store() == "/var/lib/a/store.db"
        monkeypatch.delenv("STATE_DIRECTORY")
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.setenv("HOME", "/home/somebody")
        assert default_store() == "/home/somebody/.local/state/saccade/store.db"

    def test_a_reader_of_a_file_that_is_not_there_creates_none(self, tmp_path: Path) -> None:
        path = tmp_path / "none.db"
        with pytest.raises(ConfigError, match=f"there is no store at {path}"):
            open_database(str(path), create=False)
        assert not path.exists()
