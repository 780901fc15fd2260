from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from saccade.errors import ConfigError, Unreachable
from saccade_edge.status import STALE_S, StatusFile, beside, named, read_status


def written(path: Path, **record: object) -> Path:
    file = StatusFile(path)
    file.write({"running": True, **record})
    file.close()
    return path


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "spool.status"
    file = StatusFile(path)
    for number in range(100):
        file.write({"running": True, "number": number})
    file.close()
    assert read_status(path)["number"] == 99
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["spool.status"]


def test_an_edge_that_was_killed_is_told_from_one_that_ended(tmp_path: Path) -> None:
    path = written(tmp_path / "status")
    record = json.loads(path.read_text())
    old = record | {"written_unix_ms": record["written_unix_ms"] - int((STALE_S + 25) * 1e3)}
    path.write_text(json.dumps(old))
    with pytest.raises(Unreachable, match=r"has said nothing since \d{4}-.+, for 3\d s"):
        read_status(path)
    path.write_text(json.dumps(old | {"running": False}))
    assert read_status(path)["running"] is False


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', "\xff"])
def test_what_is_no_status_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "status"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match="status"):
        read_status(path)
    with pytest.raises(ConfigError, match="no edge has written its status"):
        read_status(tmp_path / "none")


def test_a_disk_that_takes_nothing_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    file = StatusFile(tmp_path / "file" / "status")
    for _ in range(3):
        file.write({"running": True})
    file.close()
    assert [record.message[:29] for record in caplog.records] == ["the status cannot be written:"]


def test_names_cannot_leave_their_folder(tmp_path: Path) -> None:
    assert named(tmp_path, "../kerb", "a/b").parent == tmp_path
    assert beside(tmp_path / "x.spool") == tmp_path / "x.spool.status"
