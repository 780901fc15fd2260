"""Whatever a store's URL names, nothing but a store is changed, and nothing appears beside it."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from saccade.errors import ConfigError
from saccade_cloud.api_keys import add_api_key, read_api_keys
from saccade_cloud.store.migrations import NEWEST
from saccade_cloud.store.store_opening import open_database, open_store
from saccade_testing.foreign_files import DATABASES, FILES, NO_FILES, beside, snapshot, text
from saccade_testing.postgres_server import missing, postgres_server
from saccade_testing.spools import open_file


def serve(url: str) -> None:
    """As a cloud opens and closes it."""

    async def main() -> None:
        await open_store(url).close()

    asyncio.run(main())


def newer_store(path: Path) -> None:
    serve(str(path))
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute(f"INSERT INTO schema_version VALUES ({NEWEST + 1}, 0)")
    path.chmod(0o644)


def spool(path: Path) -> None:
    open_file(path).close()


def versions_of_another(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE schema_version (version TEXT, script TEXT)")


FOREIGN = [
    *(*FILES, *DATABASES, *NO_FILES, beside("-wal"), beside("-journal")),
    *(newer_store, spool, versions_of_another),
]


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "SQLITE:///{}"])
@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_no_store_is_refused_and_left_as_it_was(
    make: Callable[[Path], None], form: str, tmp_path: Path
) -> None:
    path = tmp_path / "thing"
    make(path)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="thing"):
        serve(form.format(path))
    with pytest.raises(ConfigError, match="thing"):
        open_database(form.format(path), create=False)
    assert snapshot(tmp_path) == before


def test_an_empty_file_becomes_a_store_and_is_one_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    for _ in range(2):
        serve(str(path))
    header = path.read_bytes()[:100]
    assert header[68:72] == b"SaSt"
    open_database(str(path), create=False)


def test_memory_holds_nothing_to_look_at() -> None:
    with pytest.raises(ConfigError, match="memory: keeps nothing: there is nothing to look at"):
        open_database("memory:", create=False)


@pytest.mark.skipif(bool(missing()), reason=missing() or "never")
@pytest.mark.parametrize(
    ("theirs", "says"),
    [
        ("CREATE TABLE packet (id int)", "has tables of another program's (packet)"),
        ("CREATE TABLE observation (id int)", "has tables of another program's (observation)"),
        ("CREATE VIEW session AS SELECT 1 AS id", "has tables of another program's (session)"),
        ("CREATE TABLE schema_version (version text)", "schema_version is another program's"),
    ],
)
def test_tables_of_another_program_in_postgresql_are_left_alone(theirs: str, says: str) -> None:
    with postgres_server() as make:
        url = make()
        engine = open_database(url).engine
        with engine.begin() as connection:
            connection.exec_driver_sql(theirs)
        with pytest.raises(ConfigError) as refused:
            serve(url)
        assert says in str(refused.value)
        with engine.connect() as connection:
            count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            assert connection.exec_driver_sql(f"{count} AND relkind IN ('r', 'v')").scalar() == 1
        engine.dispose()


@pytest.mark.parametrize("make", [*FILES, *DATABASES, *NO_FILES], ids=lambda make: make.__name__)
def test_what_is_no_file_of_tokens_is_left_as_it_was(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "thing"
    make(path)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="thing"):
        add_api_key(path, "dashboard")
    with pytest.raises(ConfigError, match="thing"):
        read_api_keys(path)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_file_of_tokens_that_others_may_read_or_write_is_refused(
    mode: int, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    add_api_key(path, "dashboard")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"by others \\(mode {mode:04o}\\): chmod 600"):
        read_api_keys(path)
    add_api_key(path, "phone")  # makes it private again
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(read_api_keys(path)) == {"dashboard", "phone"}


def test_text_is_appended_to_no_letter(tmp_path: Path) -> None:
    text(tmp_path / "letter")
    (tmp_path / "tokens").symlink_to("letter")
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="not a new name and a SHA-256"):
        add_api_key(tmp_path / "tokens", "dashboard")
    assert snapshot(tmp_path) == before
