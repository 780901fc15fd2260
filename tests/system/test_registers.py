"""The shipped bundle of learned registers: a frame in less than a hundred bytes, answered."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import saccade
from saccade.bundle import Bundle
from saccade_drawn_world.crossing.render import render
from saccade_testing.commands import run


def test_its_files_are_those_of_its_manifest() -> None:
    bundle = Bundle.open("crossing-registers")
    bundle.verify()
    assert bundle.manifest.points
    assert sum(entry.bytes for entry in bundle.manifest.files.values()) < 20e6


def test_the_time_of_day_is_told_from_less_than_a_hundred_bytes() -> None:
    right, sizes = [], []
    options = saccade.EncodeOptions(threads=1)
    with saccade.local("crossing-registers", encode=options) as vision:
        for seed in range(20_000, 20_012):
            rendered = render(seed)
            answer = vision.ask(rendered.picture, "what time of day is it ?")
            right.append(answer.text == rendered.scene.time)
            sizes.append(answer.bytes_sent)
    assert np.mean(right) >= 0.9
    assert np.mean(sizes) < 100


@pytest.mark.parametrize("point", ["0", "5"])
def test_the_command_line_takes_a_point(tmp_path: Path, point: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(render(20_000).picture, cv2.COLOR_RGB2BGR))
    words = ("--bundle", "crossing-registers", "--point", point, "--json")
    asked = run("ask", str(tmp_path / "a.png"), "what is the weather ?", *words)
    assert (asked.returncode, asked.stderr) == (0, "")
    refused = run("ask", str(tmp_path / "a.png"), "what is the weather ?", *words[:3], "99")
    assert refused.returncode != 0
    assert "99 as operating point: the bundle allows 0 to" in refused.stderr
