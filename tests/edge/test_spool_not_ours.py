"""Whatever a spool's path names, nothing but a spool is changed, and nothing appears beside it."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from saccade.errors import ConfigError
from saccade_edge.spool import Spool
from saccade_edge.spool.spool_inspection import look_into
from saccade_edge.status_file import StatusFile, check_status, read_status
from saccade_testing.foreign_files import (
    DATABASES,
    FILES,
    NO_FILES,
    beside,
    database,
    pipe_as_lock,
    snapshot,
    text,
)
from saccade_testing.spools import DIGEST, open_file, settings


def open_spool(path: Path) -> Spool:
    return Spool.open(settings(path), "kerb", DIGEST, "north")


def newer_spool(path: Path) -> None:
    open_file(path).close()
    with closing(sqlite3.connect(path)) as newer, newer:
        newer.execute("UPDATE meta SET value = '2' WHERE key = 'version'")
    path.chmod(0o644)


BESIDE = [*(beside(suffix) for suffix in (".lock", "-wal", "-journal")), pipe_as_lock]
FOREIGN = [*FILES, *DATABASES, *NO_FILES, *BESIDE, newer_spool]


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_no_spool_is_refused_and_left_as_it_was(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "thing"
    make(path)
    before, null = snapshot(tmp_path), stat.S_IMODE(os.stat("/dev/null").st_mode)
    with pytest.raises(ConfigError, match="thing"):
        open_spool(path)
    assert snapshot(tmp_path) == before
    assert stat.S_IMODE(os.stat("/dev/null").st_mode) == null
    with pytest.raises(ConfigError):
        look_into(path)
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_file_of_another_user_is_not_taken() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # which other users may enter
        folder = Path(name)
        folder.chmod(0o777)
        path = folder / "theirs"
        path.touch()
        os.chown(path, 12345, 12345)
        before = snapshot(folder)
        os.seteuid(12346)
        try:
            with pytest.raises(ConfigError, match=r"belongs to another user \(uid 12345\)"):
                open_spool(path)
        finally:
            os.seteuid(0)
        assert snapshot(folder) == before


def test_an_empty_file_is_taken_and_a_link_to_a_spool_followed(tmp_path: Path) -> None:
    empty, link = tmp_path / "empty", tmp_path / "link"
    empty.touch(0o644)
    link.symlink_to(empty)
    for path in (empty, link):
        file = open_file(path)
        file.close()
    assert stat.S_IMODE(empty.stat().st_mode) == 0o600
    assert link.is_symlink()


def test_a_spool_from_before_it_was_marked_is_still_one(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    open_file(path).close()
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA application_id = 0")
    assert look_into(path)[0].device == "kerb"
    open_file(path).close()
    with closing(sqlite3.connect(path)) as marked:
        assert marked.execute("PRAGMA application_id").fetchone() == (0x53615370,)


STATUS_FOREIGN = [*FILES, database, *NO_FILES]


@pytest.mark.parametrize("make", STATUS_FOREIGN, ids=lambda make: make.__name__)
def test_what_is_no_status_is_not_replaced(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "thing"
    make(path)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match="thing"):
        check_status(path)
    with pytest.raises(ConfigError, match="thing"):
        read_status(path)
    file = StatusFile(path)
    file.write({"running": True})
    file.close()
    assert snapshot(tmp_path) == before
    assert len(caplog.records) == 1


def test_a_status_that_is_written_goes_through_no_link(tmp_path: Path) -> None:
    text(tmp_path / "letter")
    for name in ("status", "status.new"):
        (tmp_path / name).symlink_to("letter")
        file = StatusFile(tmp_path / "status")
        file.write({"running": True})
        file.close()
        assert (tmp_path / "letter").read_text().startswith("a letter")
        (tmp_path / name).unlink()
