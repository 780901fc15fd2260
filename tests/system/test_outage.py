"""What a camera saw while there was no cloud comes to the cloud that is there later."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import saccade
from saccade.bundle import Bundle
from saccade_testing.commands import cloud_process, run, start

QUESTION = "how many vehicles are there ?"


def spooled(spool: Path) -> dict[str, Any]:
    shown = run("edge", "spool", str(spool), "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    record: dict[str, Any] = json.loads(shown.stdout)
    return record


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_outage_costs_no_frame(
    bundle: Bundle, clip: Path, picture: Path, tmp_path: Path, number: signal.Signals
) -> None:
    spool = tmp_path / "spool"
    common = ("--bundle", str(bundle.folder), "--ask", QUESTION, "--threads", "1", "--json")
    keep = ("--spool", str(spool), "--device", "kerb", "--camera", "north")
    words = ("edge", "run", str(clip), "--live", "--cloud", "127.0.0.1:9", "--gate", "0")
    edge = start(*words, *common, *keep)
    assert edge.stdout is not None
    kept = 0
    while kept < 5:
        record = json.loads(edge.stdout.readline())
        assert record["event"] != "FrameSent"  # nobody is there
        kept += record["event"] == "FrameSpooled"
    began = time.monotonic()
    edge.send_signal(number)
    rest, errors = edge.communicate(timeout=30)
    if number is signal.SIGTERM:
        assert (edge.returncode, errors) == (0, "")
        assert time.monotonic() - began < 15
        summary = json.loads(rest.splitlines()[-1])
        assert summary["spool"]["packets"] == summary["spool"]["handed"] == summary["spooled"]
        assert (summary["sent"], summary["unsent"], summary["complete"]) == (0, 0, False)
    waiting = spooled(spool)["packets"]
    assert waiting >= 4  # one may have been on its way to the disk

    with cloud_process(bundle.folder, "--store", str(tmp_path / "store")) as (_, address):
        done = run("edge", "run", str(picture), "--cloud", address, *common, *keep)
        assert (done.returncode, done.stderr) == (0, "")
        with saccade.connect(address) as vision:
            (camera,) = vision.cameras()
    events = [json.loads(line) for line in done.stdout.splitlines()]
    answered = [e["sequence"] for e in events if e["event"] == "FrameAnswered"]
    assert len(answered) == len(set(answered)) == waiting + 1
    sent = [(e["sequence"], e["late"], e["size"]) for e in events if e["event"] == "FrameSent"]
    assert len(sent) == len({sequence for sequence, *_ in sent}) == waiting + 1
    assert [late for _, late, _ in sent].count(True) == waiting
    assert {tuple(size) for *_, size in sent} == {(384, 640)}
    summary = events[-1]
    assert (summary["sent"], summary["late"]) == (waiting + 1, waiting)
    assert (summary["answers"], summary["late_answers"]) == (waiting + 1, waiting)
    assert summary["complete"]
    assert camera.frames == waiting + 1
    record = spooled(spool)
    assert record["packets"] == 0
    assert record["counts"] == {"handed": waiting + 1, "delivered": waiting + 1}


def test_a_cloud_that_is_killed_and_comes_back_gets_all(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    store = ("--store", str(tmp_path / "store"))
    with cloud_process(bundle.folder, *store) as (cloud, address):
        words = (
            "edge",
            "run",
            str(clip),
            "--live",
            "--cloud",
            address,
            "--gate",
            "0",
            "--fps",
            "5",
        )
        keep = ("--spool", str(spool), "--bundle", str(bundle.folder), "--threads", "1", "--json")
        edge = start(*words, *keep)
        assert edge.stdout is not None
        while "Acknowledged" not in edge.stdout.readline():
            pass
        cloud.kill()
        cloud.wait(15)
        while json.loads(edge.stdout.readline())["event"] != "ConnectionLost":
            pass
        time.sleep(3.0)  # frames are captured meanwhile, and grow older than their deadline
        with cloud_process(bundle.folder, *store, "--listen", address):
            while not _late(edge.stdout.readline()):
                pass
            edge.send_signal(signal.SIGTERM)
            rest, errors = edge.communicate(timeout=100)
    assert (edge.returncode, errors) == (0, "")
    summary = json.loads(rest.splitlines()[-1])
    counts = summary["spool"]["counts"]
    assert set(counts) == {"handed", "delivered"}
    assert (
        counts["handed"] == summary["frames"] == counts["delivered"] + summary["spool"]["packets"]
    )
    assert summary["sent"] >= counts["delivered"]
    assert 0 < summary["late"] <= summary["spooled"]


def _late(line: str) -> bool:
    """Whether a packet of the backlog was acknowledged."""
    record = json.loads(line)
    return bool(record["event"] == "Acknowledged" and not record["live"])
