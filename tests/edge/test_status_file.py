from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade.errors import ConfigError, Unreachable
from saccade_edge.budget import BudgetSettings
from saccade_edge.frame_tracker import FrameTracker
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import CameraState
from saccade_edge.status_file import STALE_S, StatusFile, beside, clock, named, read_status
from saccade_edge.status_report import StatusReport, status_lines
from saccade_edge.uplink import LinkState
from saccade_edge.watch_budget import WatchBudget
from saccade_testing.commands import command


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


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', "\xff", "[" * 100_000]
)
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


def edge_record(**fields: object) -> dict[str, Any]:
    """What an edge says of itself, as its own `StatusReport` makes it."""
    about = {"device": "kerb", "camera": "gate", "source": "rtsp://10.0.0.5/1", "cloud": "c:7860"}
    manifest = Bundle.open("crossing").manifest
    watch_budget = WatchBudget(manifest, PipelineSettings(), "gate", BudgetSettings())
    summary = FrameTracker(lambda event: None, 0).summary(complete=False, spool=None)
    camera = fields.pop("state", None)
    assert camera is None or isinstance(camera, CameraState)
    standing = StatusReport({**about, **fields}, lambda: camera)
    link = LinkState(False, 0, 0, 0.0, 0, 0)
    return standing.record(watch_budget, link, summary, running=True)


def write_edge(path: Path, *, age_s: float = 0.0, **record: object) -> None:
    """As an edge did so long ago."""
    written(path, **edge_record() | record)
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {"written_unix_ms": int((time.time() - age_s) * 1e3)}))


def status(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    environment.pop("STATE_DIRECTORY", None)
    return subprocess.run(
        command("edge", "status", *words),
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Edges that run, ended and were killed; beside them what is no status."""
    folder = tmp_path / "saccade"
    folder.mkdir()
    later = -600.0  # they still run however long a test takes
    write_edge(named(folder, "kerb", "north"), camera="north", age_s=later)
    write_edge(beside(folder / "south.spool"), camera="south", running=False, age_s=9000)
    write_edge(named(folder, "kerb", "east"), camera="east", age_s=60)
    write_edge(named(folder, "other", "north"), device="other", camera="north", age_s=later)
    # The same camera as it ran before, without its spool.
    write_edge(named(folder, "kerb", "south"), camera="south", running=False, age_s=99_000)
    (folder / "torn.status").write_text('{"format": 2, "wri')
    (folder / "foreign.status").write_text(json.dumps(["something", "else"]))
    (folder / "deep.status").write_text("[" * 100_000)
    odd = {"format": 2, "written_unix_ms": 10**18, "running": True, "frames": 3}
    (folder / "odd.status").write_text(json.dumps(odd))
    (folder / "folder.status").mkdir()
    os.mkfifo(folder / "pipe.status")
    (folder / "north.status.new").write_text("half written")
    return tmp_path


def test_status_alone_lists_all_edges_and_says_which_run(machine: Path) -> None:
    done = status(machine)
    assert done.returncode == 0, done.stderr
    blocks = done.stdout.strip().split("\n\n")
    assert [block.split(":")[0] for block in blocks] == [
        "kerb/east", "kerb/north", "kerb/south", "other/north"
    ]  # fmt: skip
    east, north, south, _ = (block.splitlines()[0] for block in blocks)
    assert ", silent since " in east
    assert east.endswith("it was killed, or hangs")
    assert "ended" not in north
    assert ", ended " in south
    for name in ("torn", "foreign", "deep", "odd", "folder", "pipe"):
        assert f"{name}.status" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("left out: ") == 6


def test_the_list_is_json_as_well(machine: Path) -> None:
    records = json.loads(status(machine, "--json").stdout)
    assert [(r["device"], r["camera"], r["state"]) for r in records] == [
        ("kerb", "east", "silent"),
        ("kerb", "north", "running"),
        ("kerb", "south", "ended"),
        ("other", "north", "running"),
    ]
    assert records[0]["age_s"] >= 60
    assert records[2]["path"].endswith("south.spool.status")


def test_one_edge_is_asked_for_by_its_names(machine: Path) -> None:
    chosen = status(machine, "--camera", "north", "--device", "other", "--json")
    assert json.loads(chosen.stdout)["device"] == "other"
    assert json.loads(status(machine, "--device", "other", "--json").stdout)["camera"] == "north"
    unclear = status(machine, "--camera", "north")
    assert unclear.returncode != 0
    assert "2 edges of camera 'north': kerb/north, other/north" in unclear.stderr
    silent = status(machine, "--camera", "east")
    assert silent.returncode != 0
    assert "has said nothing since" in silent.stderr
    nobody = status(machine, "--camera", "west")
    assert nobody.returncode != 0
    assert "no edge of camera 'west' has written its status to" in nobody.stderr


def test_a_machine_without_edges_has_an_empty_list(tmp_path: Path) -> None:
    empty = status(tmp_path)
    assert (empty.returncode, empty.stderr) == (0, "")
    assert f"no edge has written its status to {tmp_path}/saccade" in empty.stdout
    assert json.loads(status(tmp_path, "--json").stdout) == []


def test_it_says_since_when_a_camera_is_lost_and_why_and_when_it_is_tried_again() -> None:
    now_ms = int(time.time() * 1e3)
    lost = CameraState(False, now_ms - 90_000, "no route to host", now_ms + 4000, now_ms - 95_000)
    record = edge_record(state=lost) | {"written_unix_ms": now_ms, "state": "running"}
    assert record["camera_state"] == {
        "readable": False,
        "since_unix_ms": now_ms - 90_000,
        "trouble": "no route to host",
        "next_try_unix_ms": now_ms + 4000,
        "last_frame_unix_ms": now_ms - 95_000,
    }
    lines = status_lines(record | {"last_frame_age_s": 95.0})
    since, again = clock(now_ms - 90_000), clock(now_ms + 4000)
    assert f"camera: not readable since {since} (no route to host), next try at {again}" in lines
    assert any(re.fullmatch(r"last frame: captured .+, 95\.0 s ago", line) for line in lines)
    opening = edge_record(state=CameraState(False, now_ms)) | {"state": "running"}
    assert any(
        line.endswith(", being opened now")
        for line in status_lines(opening | {"written_unix_ms": 0})
    )
    fine = edge_record(state=CameraState(True, now_ms)) | {"state": "running"}
    assert f"camera: readable since {clock(now_ms)}" in status_lines(fine | {"written_unix_ms": 0})
    assert "last frame: none yet" in status_lines(fine | {"written_unix_ms": 0})


def test_the_last_frames_age_grows_until_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.status"
    captured_ms = int(time.time() * 1e3) - 7000
    write_edge(path, last_frame_unix_ms=captured_ms)
    assert read_status(path)["last_frame_age_s"] >= 7.0
    write_edge(path, last_frame_unix_ms=None)
    assert read_status(path)["last_frame_age_s"] is None
