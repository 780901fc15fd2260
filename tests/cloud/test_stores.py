"""Every store keeps the contract; what is peculiar to one is here, too."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import inspect

from saccade.errors import ConfigError, PacketError, QuestionError, StorageError
from saccade.types import Probability
from saccade_cloud.store.database import Database, require_newest
from saccade_cloud.store.migrations import NEWEST, migrate
from saccade_cloud.store.no_store import NoStore
from saccade_cloud.store.retention import Retention
from saccade_cloud.store.sql_store import SqlStore
from saccade_cloud.store.store_opening import default_store, open_database, open_store
from saccade_cloud.store.store_schema import metadata
from saccade_testing.postgres_server import MakeDatabase, missing, postgres_server
from saccade_testing.store_contract import FACTS, StoreContract, history, noted, put, record

GOLDEN = Path(__file__).parent / "golden"


class TestSqlite(StoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store.db"

    def empty(self) -> Callable[[], Database]:
        return lambda: open_database(str(self.path))

    def test_only_its_owner_may_read_it(self, database: Callable[[], Database]) -> None:
        async def work(store: SqlStore) -> None:
            await put(store, record(1))
            for path in self.path.parent.glob("store.db*"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path

        self.run(database, work)

    def test_a_commit_is_on_the_disk(self, database: Callable[[], Database]) -> None:
        self.run(database, lambda store: put(store, record(1)))
        with database().engine.connect() as connection:
            for name, value in (("synchronous", 2), ("journal_mode", "wal"), ("auto_vacuum", 2)):
                assert connection.exec_driver_sql(f"PRAGMA {name}").scalar() == value

    def test_deleted_space_goes_back_to_the_disk(self, database: Callable[[], Database]) -> None:
        sent = [record(n, bytes(4000), came_ns=n) for n in range(1, 1001)]
        self.run(database, lambda store: put(store, *sent))
        full = self.path.stat().st_size

        async def work(store: SqlStore) -> None:
            await store.tend()

        self.run(database, work, Retention(keep_bytes=1_000_000))
        assert full > 4_000_000
        assert self.path.stat().st_size < 2_500_000

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(
            st.lists(st.tuples(st.integers(1, 5), st.sampled_from((b"a", b"b"))), max_size=8),
            min_size=1,
            max_size=4,
        )
    )
    def test_any_order_of_puts_resends_and_reopening_stores_each_identity_once(
        self, openings: list[list[tuple[int, bytes]]]
    ) -> None:
        """Each inner list is one life of the store; all its puts are in flight together."""
        self.path.unlink(missing_ok=True)
        first: dict[int, bytes] = {}
        conflicts = 0
        for puts in openings:
            expected = []
            for sequence, payload in puts:
                expected.append(first.setdefault(sequence, payload) == payload)
            conflicts += expected.count(False)
            results = self.run(self.empty(), partial(outcomes, puts=puts))
            assert results == expected

        async def look(store: SqlStore) -> None:
            totals = await store.totals()
            assert sum(camera.packets for camera in totals.cameras) == len(first)
            assert totals.conflicts == conflicts
            for sequence, payload in first.items():
                found = await store.packet("kerb", FACTS.boot, sequence)
                assert found is not None
                assert found.payload == payload

        self.run(self.empty(), look)

    def test_an_old_schema_is_upgraded_with_what_it_holds(
        self, database: Callable[[], Database]
    ) -> None:
        with sqlite3.connect(self.path) as old:
            old.executescript((GOLDEN / "store_v1.sql").read_text())
        old.close()
        with pytest.raises(ConfigError, match=f"has schema 1, this Saccade reads {NEWEST}"):
            require_newest(open_database(str(self.path)))

        async def work(store: SqlStore) -> None:
            found = await store.packet("kerb", 1, 7)
            assert found is not None
            assert (found.payload, found.session.cameras) == (b"seven", ("north",))
            assert await put(store, found) == [True]
            assert (await store.totals()).conflicts == 3
            await store.note(noted(7))
            assert len(await history(store)) == 1

        self.run(database, work)
        self.run(database, work)

    def test_answers_of_a_schema_without_probabilities_have_none(
        self, database: Callable[[], Database]
    ) -> None:
        with open_database(str(self.path)).engine.begin() as connection:
            migrate(connection, "BLOB", to=2)
            connection.exec_driver_sql(
                "INSERT INTO observation VALUES "
                "('kerb', 3, 7, x'00', 'north', 7000, 'how many ?', 0, 'two', 'stop', 300, 9000)"
            )

        async def work(store: SqlStore) -> None:
            await store.note(replace(noted(8), probability=Probability(0.5, 0.25)))
            old, new = await history(store)
            assert (old.answer, old.probability) == ("two", None)
            assert new.probability == Probability(0.5, 0.25)

        self.run(database, work)

    def test_a_newer_schema_is_left_alone(self, database: Callable[[], Database]) -> None:
        self.run(database, lambda store: put(store, record(1)))
        with sqlite3.connect(self.path) as newer:
            newer.execute(f"INSERT INTO schema_version VALUES ({NEWEST + 1}, 0)")
        newer.close()
        with pytest.raises(ConfigError, match=f"schema {NEWEST + 1} and this Saccade knows"):
            self.run(database, lambda store: put(store, record(2)))

    def test_a_file_that_is_none_of_ours_is_a_config_error(self) -> None:
        self.path.write_text("a letter to a friend, longer than any header of a database " * 9)
        with pytest.raises(ConfigError, match="is another program's file"):
            self.run(self.empty(), lambda store: put(store, record(1)))
        assert self.path.read_text().startswith("a letter")

    def test_who_only_reads_creates_nothing(self) -> None:
        with pytest.raises(ConfigError, match="there is no store at"):
            open_database(str(self.path), create=False)
        self.path.touch()
        with pytest.raises(ConfigError, match="no store of Saccade's: it is empty"):
            require_newest(open_database(str(self.path), create=False))


@pytest.fixture(scope="module")
def make_database() -> Iterator[MakeDatabase]:
    with postgres_server() as make:
        yield make


@pytest.mark.skipif(bool(missing()), reason=missing() or "never")
class TestPostgres(StoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, make_database: MakeDatabase) -> None:
        self.make = make_database

    def empty(self) -> Callable[[], Database]:
        url = self.make()
        return lambda: open_database(url)

    def test_two_clouds_share_it(self, database: Callable[[], Database]) -> None:
        mine = [record(n) for n in range(1, 301)]
        theirs = [replace(each, received_ns=1) for each in reversed(mine)]

        async def main() -> None:
            stores = SqlStore(database()), SqlStore(database())
            both = await asyncio.gather(put(stores[0], *mine), put(stores[1], *theirs))
            assert all(stored == [True] * 300 for stored in both)
            assert (await stores[0].totals()).cameras[0].packets == 300
            for store in stores:
                await store.close()

        asyncio.run(main())

    def test_a_lost_connection_and_a_read_only_server_are_no_refusals(
        self, database: Callable[[], Database]
    ) -> None:
        async def work(store: SqlStore) -> None:
            assert await put(store, record(1)) == [True]
            administer(database(), "ALTER DATABASE {} SET default_transaction_read_only = on")
            with pytest.raises(StorageError, match="read-only"):
                await put(store, record(2), record(3))
            assert await store.stored("kerb", FACTS.boot, [1, 2]) == [1], "readers go on"
            administer(database(), "ALTER DATABASE {} RESET default_transaction_read_only")
            assert await put(store, record(2), record(3)) == [True, True]

        self.run(database, work)

    def test_a_record_that_no_database_takes_fails_alone(
        self, database: Callable[[], Database]
    ) -> None:
        poison = replace(record(2), camera="north\0south")

        async def work(store: SqlStore) -> None:
            waiting = [await store.put(each) for each in (record(1), poison, record(3))]
            assert await waiting[0]
            with pytest.raises(PacketError, match="it can't be stored"):
                await waiting[1]
            assert await waiting[2]

        self.run(database, work)

    def test_one_that_is_gone_is_a_config_error_without_its_password(self, tmp_path: Path) -> None:
        database = open_database(f"postgresql://user:secret@/store?host={tmp_path}")
        with pytest.raises(ConfigError, match="can't be opened") as caught:
            self.run(lambda: database, lambda store: put(store, record(1)))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_migrated_tables_are_those_that_queries_know(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "store.db")
    if kind == "postgres":
        if why := missing():
            pytest.skip(why)
        url = request.getfixturevalue("make_database")()
    database = open_database(url)

    async def main() -> None:
        await SqlStore(database).close()

    asyncio.run(main())
    found = inspect(database.engine)
    for table in metadata.sorted_tables:
        columns = [column["name"] for column in found.get_columns(table.name)]
        assert columns == [column.name for column in table.columns]
        keys = found.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key]


def administer(database: Database, statement: str) -> None:
    """Change the database's settings, and end all other connections to it."""
    with database.engine.connect() as connection:
        connection.exec_driver_sql("SET default_transaction_read_only = off")
        connection.commit()
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(statement.format(name))
        connection.commit()
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    database.engine.dispose()


async def outcomes(store: SqlStore, puts: list[tuple[int, bytes]]) -> list[bool]:
    """For each put whether it is stored; a conflict is not."""
    waiting = [await store.put(record(sequence, payload)) for sequence, payload in puts]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    others = [r for r in results if r is not True and not isinstance(r, PacketError)]
    assert others == []
    return [result is True for result in results]


def test_without_a_store_nothing_is_promised_and_nothing_kept() -> None:
    async def main() -> None:
        store = open_store("memory:")
        assert isinstance(store, NoStore)
        assert await (await store.put(record(1))) is False
        await store.note(noted(1))
        assert await store.resume_after("kerb", FACTS.boot) == 0
        assert await store.stored("kerb", FACTS.boot, [1]) == []
        assert await store.packet("kerb", FACTS.boot, 1) is None
        with pytest.raises(QuestionError, match="keeps no history"):
            await anext(store.history("kerb", "north", 0, 1, 0))
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["sqlite:///{}", "{}"])
def test_a_file_is_named_by_its_path_or_as_a_url(url: str, tmp_path: Path) -> None:
    path = str(tmp_path / "a:b" / "store.db")
    assert open_database(url.format(path)).place == path


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite:", "sqlite:///", "file:store.db", ""])
def test_a_store_of_no_known_kind_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="no kind of store"):
        open_database(url)


def test_the_default_is_where_programs_keep_their_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/somewhere")
    assert default_store() == "/somewhere/saccade/store.db"
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/saccade")
    assert default_store() == "/var/lib/saccade/store.db"
