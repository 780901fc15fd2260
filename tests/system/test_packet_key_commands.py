"""Packet keys on the command line: one command makes a key, the edge signs, the cloud checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from saccade.bundle import Bundle
from saccade_testing.commands import cloud_process, run

QUESTION = "how many vehicles are there ?"


def watch(address: str, bundle: Bundle, clip: Path, *words: str) -> list[dict[str, Any]]:
    """What an edge tells of four frames."""
    common = ("--cloud", address, "--bundle", str(bundle.folder), "--json", "--threads", "1")
    done = run("edge", "run", str(clip), *common, "--fps", "0.5", "--device", "kerb",
               "--ask", QUESTION, *words)  # fmt: skip
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def kinds(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def test_who_signs_is_heard_and_who_does_not_is_refused(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    keys, key = tmp_path / "packet-keys", tmp_path / "kerb.key"
    made = run("cloud", "packet-key", "kerb", f"--packet-keys={keys}", f"--out={key}")
    assert made.returncode == 0, made.stderr
    words = ("--packet-keys", str(keys), "--require-packet-keys")
    with cloud_process(bundle.folder, *words) as (_, address):
        signed = watch(address, bundle, clip, "--packet-key", str(key))
        assert kinds(signed, "FrameAnswered")
        assert kinds(signed, "Refused") == []
        plain = watch(address, bundle, clip)
        refused = kinds(plain, "Refused")
        assert {event["code"] for event in refused} == {"tag"}
        assert kinds(plain, "FrameAnswered") == []
        [summary] = kinds(plain, "Summary")
        assert summary["refused"] == len(refused) > 0


def test_a_key_that_is_none_or_that_others_can_read_is_refused(
    bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    key = tmp_path / "kerb.key"
    key.write_text("00" * 32)
    key.chmod(0o644)
    common = ("edge", "run", str(clip), "--cloud", "127.0.0.1:9", "--bundle", str(bundle.folder))
    done = run(*common, "--packet-key", str(key))
    assert (done.returncode != 0, "can be read or written by others" in done.stderr) == (True, True)
    key.chmod(0o600)
    key.write_text("secret")
    done = run(*common, "--packet-key", str(key))
    assert "64 hexadecimal digits" in done.stderr
    assert "secret" not in done.stderr
