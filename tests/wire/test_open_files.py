"""Looking at the files of an open database, from several threads."""

from __future__ import annotations

import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from saccade.open_files import OpenFiles


def test_threads_that_look_at_once_do_not_take_each_others_row(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        files = OpenFiles(path, connection)

        def look(_: int) -> str:
            return "".join(files.trouble() for _ in range(5_000))

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # so often that some change comes within a statement
        try:
            with ThreadPoolExecutor(3) as threads:
                assert list(threads.map(look, range(3))) == ["", "", ""]
        finally:
            sys.setswitchinterval(before)
