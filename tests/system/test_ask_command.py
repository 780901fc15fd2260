"""``saccade ask`` here and by a cloud."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from saccade.bundle import Bundle
from saccade_testing.commands import run

QUESTION = "describe the scene ."


def ask(picture: Path, bundle: Bundle, *words: str) -> str:
    done = run("ask", str(picture), QUESTION, "--bundle", str(bundle.folder), *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_answer_comes_first_and_then_its_time(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    answers = set()
    for words in ((), ("--stream",), ("--cloud", cloud), ("--cloud", cloud, "--stream")):
        lines = ask(picture, bundle, *words).splitlines()
        answers.add(lines[0])
        assert lines[2] == f"trained for   {bundle.manifest.domain}"
        assert re.fullmatch(r"probability +[01]\.\d\d +least token [01]\.\d\d", lines[3])
        stages = [line.split()[0] for line in lines[4:]]
        assert stages[0] == "source"
        assert stages[-2:] == ["decode_tokens", "total"]
        assert ("link" in stages) == ("--cloud" in words)
        assert lines[-1].endswith(" bytes sent")
    assert len(answers) == 1
    assert answers.pop()


def test_json_is_one_object(bundle: Bundle, picture: Path) -> None:
    record = json.loads(ask(picture, bundle, "--json", "--tokens", "4", "--codec", "f16"))
    assert record["answer"]
    assert record["finish"] in ("stop", "length")
    assert 0 < record["bytes_sent"] < 5 * 4 * 64 + 200  # 4 tokens of 32 halves in 5 views at most
    assert record["total_ms"] > 0
    assert 0 < record["least_probability"] <= record["probability"] <= 1
    assert record["domain"] == bundle.manifest.domain
    captured = datetime.fromisoformat(record["captured"])
    assert abs(datetime.now(timezone.utc) - captured) < timedelta(minutes=1)
    assert 0 < record["age_s"] < 60
