"""Signals end every process, and nothing stays behind."""

from __future__ import annotations

import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_testing.commands import cloud_process, marked, start

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors


@pytest.mark.parametrize("number", SIGNALS)
def test_an_edge_finishes_what_it_began(bundle: Bundle, clip: Path, number: signal.Signals) -> None:
    with cloud_process(bundle.folder) as (_, address):
        words = ("--cloud", address, "--bundle", str(bundle.folder), "--live", "--gate", "0")
        edge = start("edge", "run", str(clip), *words, "--ask", "what is vehicle 1 ?")
        assert edge.stdout is not None
        seen = [edge.stdout.readline() for _ in range(6)]
        edge.send_signal(number)
        rest, errors = edge.communicate(timeout=30)
    lines = [*seen, *rest.splitlines()]
    assert (edge.returncode, errors) == (0, "")
    assert " answers, 0 refused, " in lines[-1]
    sent, answers = (int(part.split()[0]) for part in lines[-1].split(", ")[1:3])
    assert sent == answers < 240


@pytest.mark.parametrize("number", SIGNALS)
def test_a_cloud_with_an_edge_on_the_line_ends_in_order(
    bundle: Bundle, clip: Path, number: signal.Signals
) -> None:
    with cloud_process(bundle.folder, "--drain", "2") as (cloud, address):
        words = ("--cloud", address, "--bundle", str(bundle.folder), "--live", "--patience", "1")
        edge = start("edge", "run", str(clip), *words)
        assert edge.stdout is not None
        edge.stdout.readline()
        cloud.send_signal(number)
        assert ended(cloud) == (0, "")
        status, errors = ended(edge)
    assert status == 1
    assert "saccade: error: " in errors.splitlines()[-1]


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGHUP])
@pytest.mark.parametrize("after_s", [0.4, 3.0])
def test_a_demo_that_is_interrupted_leaves_no_process(
    number: signal.Signals, after_s: float, bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    words = ("--bundle", str(bundle.folder), "--source", str(clip), "--out", str(tmp_path))
    # Every frame of the clip: long enough that no machine is done before the signal.
    demo = start("demo", *words, "--fps", "10", mark=mark)
    time.sleep(after_s)
    demo.send_signal(number)
    status, errors = ended(demo)
    assert marked(mark) == []
    if after_s > 1:
        assert (status, errors) == (130, "")
