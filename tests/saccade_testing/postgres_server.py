"""A PostgreSQL server of this machine's own binaries, for as long as the tests run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MakeDatabase = Callable[[], str]

_numbers = itertools.count(1)


def missing() -> str:
    """Why no server can be had here; empty where one can."""
    for name in ("initdb", "pg_ctl", "psql", "postgres"):
        if _binary(name) is None:
            return f"PostgreSQL's {name} is not on this machine"
    if os.geteuid() == 0 and not _account():
        return "PostgreSQL does not run as root, and there is no user 'postgres'"
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        return f"psycopg is not installed: {error}"
    return ""


@contextmanager
def postgres_server() -> Iterator[MakeDatabase]:
    """Gives the URL of a new database at each call; the server listens on a socket file only."""
    # A short path: a socket's has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        if account := _account():
            shutil.chown(folder, account)
        data = str(folder / "data")
        _run("initdb", "-D", data, "-U", "saccade", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c max_connections=40"
        log = str(folder / "log")
        _run("pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            yield lambda: _new_database(folder)
        finally:
            _run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _new_database(folder: Path) -> str:
    name = f"store{next(_numbers)}"
    create = f"CREATE DATABASE {name}"
    _run("psql", "-h", str(folder), "-U", "saccade", "-d", "postgres", "-qc", create)
    return f"postgresql://saccade@/{name}?host={folder}"


def _run(name: str, *words: str) -> None:
    binary = _binary(name)
    assert binary is not None
    done = subprocess.run(
        [binary, *words],
        user=_account(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # no pipe: the server would inherit it and hold it open
        stderr=subprocess.STDOUT,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"{name} {' '.join(words)} failed"


def _binary(name: str) -> str | None:
    found = shutil.which(name)
    if found is None and (server := shutil.which("postgres")):
        beside = Path(server).resolve().parent / name
        found = str(beside) if beside.exists() else None
    return found


def _account() -> str | None:
    """Whom to become: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    users = Path("/etc/passwd").read_text().splitlines()
    return "postgres" if any(line.startswith("postgres:") for line in users) else None
