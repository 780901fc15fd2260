"""A camera's edge, seen from outside while it runs, while its camera is gone, and as it stops."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade_testing.commands import QUIET, cloud_process, command
from saccade_testing.rtsp_camera import Habits, RtspCamera

STEADY = Habits(frames=900, rate=15)


@contextmanager
def edge(bundle: Bundle, url: str, cloud: str, state: Path) -> Iterator[subprocess.Popen[str]]:
    """With its usual spool in ``state``."""
    words = ("edge", "run", url, "--cloud", cloud, "--bundle", str(bundle.folder))
    common = ("--camera", "gate", "--device", "kerb", "--threads", "1", "--fps", "2", "--json")
    process = subprocess.Popen(
        command(*words, *common, "--gate", "0"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(state),
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def environment(state: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    return {**kept, **QUIET, "XDG_STATE_HOME": str(state)}


def listed(state: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        command("edge", "status", "--json"),
        capture_output=True, text=True, check=True, env=environment(state),
    )  # fmt: skip
    records: list[dict[str, Any]] = json.loads(done.stdout)
    return records


def until_listed(state: Path, *, readable: bool) -> dict[str, Any]:
    """The one edge's record, once its camera is so."""
    ends_s = time.monotonic() + 60
    while time.monotonic() < ends_s:
        found = [r for r in listed(state) if (r["camera_state"] or {}).get("readable") is readable]
        if found and (found[0]["last_frame_unix_ms"] or not readable):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(f"no edge whose camera is readable: {readable}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopping_a_camera_that_works_warns_of_nothing(
    bundle: Bundle, tmp_path: Path, number: signal.Signals
) -> None:
    with (
        cloud_process(bundle.folder, "--store", str(tmp_path / "store")) as (_, address),
        RtspCamera(STEADY) as camera,
        edge(bundle, camera.url, address, tmp_path) as process,
    ):
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert any(json.loads(line)["event"] == "FrameSent" for line in lines)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    summary = json.loads(rest.splitlines()[-1])
    assert summary["event"] == "Summary"
    assert summary["sent"] >= 1
    assert (summary["failed"], summary["unacknowledged"], summary["unanswered"]) == (0, 0, 0)
    assert summary["complete"]
    assert summary["spool"]["packets"] == 0


def test_the_list_says_since_when_a_camera_is_gone_and_why_and_when_it_is_tried_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    with (
        cloud_process(bundle.folder) as (_, address),
        RtspCamera(STEADY) as camera,
        edge(bundle, camera.url, address, tmp_path) as process,
    ):
        there = until_listed(tmp_path, readable=True)
        camera.close()
        gone = until_listed(tmp_path, readable=False)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    (ended,) = listed(tmp_path)
    assert (there["device"], there["camera"], there["state"]) == ("kerb", "gate", "running")
    assert there["last_frame_age_s"] < 30
    state = gone["camera_state"]
    assert state["trouble"]
    assert there["camera_state"]["since_unix_ms"] <= state["since_unix_ms"]
    assert state["last_frame_unix_ms"] <= state["since_unix_ms"]
    assert state["next_try_unix_ms"] is None or state["next_try_unix_ms"] > state["since_unix_ms"]
    assert ended["state"] == "ended"
