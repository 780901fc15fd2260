"""Files of other programs, each at a path that a user might name, and what a folder holds."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

Snapshot = dict[str, tuple[int, int, int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Mode, owner, time of change and content of all that is there."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        found[str(path.relative_to(folder))] = (
            state.st_mode,
            state.st_uid,
            state.st_mtime_ns,
            content,
        )
    return found


def text(path: Path) -> None:
    path.write_text("a letter to a friend " * 200)
    path.chmod(0o644)


def short(path: Path) -> None:
    path.write_bytes(b"x")


def truncated_header(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE packet (id INTEGER PRIMARY KEY, name TEXT)")
    path.chmod(0o640)


def database_with_our_names(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "CREATE TABLE meta (key TEXT, value TEXT);"
            "CREATE TABLE counter (n); CREATE TABLE packet (n)"
        )


def database_of_an_application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("PRAGMA application_id = 1196444487; CREATE TABLE contents (id)")


def empty_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE t (id); DROP TABLE t;")


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o644)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


def link_to_text(path: Path) -> None:
    text(path.with_name("letter"))
    path.symlink_to(path.with_name("letter"))


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def beside(suffix: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        text(Path(f"{path}{suffix}"))

    make.__name__ = f"text_beside_as{suffix}"
    return make


def pipe_as_lock(path: Path) -> None:
    pipe(Path(f"{path}.lock"))


FILES = [text, short, truncated_header]
DATABASES = [database, database_with_our_names, database_of_an_application, empty_database]
NO_FILES = [folder, pipe, unix_socket, device, link_to_text, link_to_nothing]
