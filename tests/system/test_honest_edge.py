"""An edge's standing question about what a frame does not show is an answer about that frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import saccade
from saccade.bundle import Bundle
from saccade_testing.commands import run

ABSENT, ALWAYS = "What is vehicle 4?", "how many vehicles are there ?"


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_it_goes_on_and_counts_what_no_frame_could_answer(
    cloud: str, bundle: Bundle, clip: Path
) -> None:
    here = ("--cloud", cloud, "--bundle", str(bundle.folder), "--fps", "0.5")
    done = run("edge", "run", str(clip), *here, "--json", "--ask", ABSENT, "--ask", ALWAYS)
    assert (done.returncode, done.stderr) == (0, "")
    started, *events = records(done.stdout)
    assert started == {"event": "Started", "bundle": "crossing", "domain": bundle.manifest.domain}
    refused = [each for each in events if each["event"] == "Refused"]
    answered = [each for each in events if each["event"] == "FrameAnswered"]
    summary = events[-1]
    assert {each["code"] for each in refused} == {"not_in_frame"}
    assert {each["question"] for each in refused} == {ABSENT}
    assert all("there is no vehicle 4 in this frame: it has " in each["error"] for each in refused)
    assert summary["not_in_frame"] == summary["refused"] == len(refused) > 0
    assert summary["answers"] == len(answered) == 2 * summary["sent"] - len(refused)
    for each in answered:
        assert 0 < each["least_probability"] <= each["probability"] <= 1
        # A recording's frames are dated by their place in it, which it is read faster than.
        assert min(each["age_s"], each["clock_ahead_s"]) == 0
        assert 0 < each["age_s"] + each["clock_ahead_s"] < 120
        assert each["captured_ns"] > 0


def test_its_lines_say_the_domain_once_and_each_probability(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    here = ("--cloud", cloud, "--bundle", str(bundle.folder))
    done = run("edge", "run", str(picture), *here, "--ask", "what is vehicle 9", "--ask", ALWAYS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(bundle.manifest.domain) == 1
    assert done.stdout.startswith(f"bundle crossing, trained for {bundle.manifest.domain}\n")
    assert "what is vehicle 9 -> there is no vehicle 9 in this frame" in done.stdout
    assert ", probability " in done.stdout


def test_words_that_no_frame_could_answer_end_it_before_it_begins(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    here = ("--cloud", cloud, "--bundle", str(bundle.folder))
    done = run("edge", "run", str(picture), *here, "--ask", "what color is vehicle 1 ?")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "does not know 'color' (did you mean 'colour'?)" in done.stderr
    assert "frame" not in done.stdout


def test_a_camera_that_is_gone_is_asked_on_the_command_line(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    here = ("--cloud", cloud, "--bundle", str(bundle.folder))
    names = ("--device", "mast", "--camera", "yard")
    assert run("edge", "run", str(picture), *here, *names).returncode == 0
    asked = ("ask", "mast/yard", ALWAYS, "--camera", "--cloud", cloud)
    done = run(*asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the camera is not connected" in done.stdout
    record = json.loads(run(*asked, "--json").stdout)
    assert (record["connected"], record["camera"]) == (False, "mast/yard")
    assert record["age_s"] > 0
    stale = run(*asked, "--max-age", "0.001")
    assert stale.returncode == 1
    assert "the newest frame of mast/yard is " in stale.stderr
    assert "the camera is not connected" in stale.stderr
    with saccade.connect(cloud) as vision:
        (camera,) = [each for each in vision.cameras() if each.path == "mast/yard"]
        assert camera.age_s is not None
        assert camera.age_s >= record["age_s"]
