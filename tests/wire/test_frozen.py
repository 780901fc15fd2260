"""The wire is frozen: what a released message has keeps its number, its name and its type."""

from __future__ import annotations

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "protos"))

import breaking  # noqa: E402 - the folder of the wire's tools is no package

FROZEN = breaking.read()
PACKET = "saccade.v1.FramePacket"


def test_nothing_that_is_frozen_has_changed() -> None:
    assert list(breaking.broken(FROZEN, breaking.shapes())) == []


def test_all_that_is_there_is_frozen() -> None:
    assert breaking.shapes() == FROZEN, "run: python protos/breaking.py --write"


@pytest.mark.parametrize(
    ("number", "declared", "problem"),
    [
        ("1", "uint32 sequence", "1 was uint64 sequence, and is uint32 sequence"),
        ("1", "repeated uint64 sequence", "and is repeated uint64 sequence"),
        ("4", "uint32 coding", "4 was uint32 codec, and is uint32 coding"),
        ("8", None, "bytes tag = 8 is gone, and its number is not reserved"),
        ("99", "bytes more", None),
        ("8", breaking.RESERVED, None),
    ],
)
def test_a_change_of_a_field_is_found(
    number: str, declared: str | None, problem: str | None
) -> None:
    now = deepcopy(FROZEN)
    now[PACKET].pop(number, None)
    if declared is not None:
        now[PACKET][number] = declared
    found = list(breaking.broken(FROZEN, now))
    assert (problem is None and not found) or (len(found) == 1 and str(problem) in found[0])


def test_a_reserved_number_is_not_used_again() -> None:
    now = deepcopy(FROZEN)
    number = next(n for n, kind in now["saccade.v1.Budget"].items() if kind == breaking.RESERVED)
    now["saccade.v1.Budget"][number] = "uint32 tokens"
    assert list(breaking.broken(FROZEN, now)) == [
        f"saccade.v1.Budget: {number} was reserved, and is uint32 tokens"
    ]


@pytest.mark.parametrize("name", [PACKET, "saccade.v1.Role", "saccade.v1.Fleet"])
def test_a_message_an_enum_and_a_service_stay(name: str) -> None:
    now = {other: shape for other, shape in FROZEN.items() if other != name}
    assert list(breaking.broken(FROZEN, now)) == [f"{name} is gone"]


def test_the_command_fails_on_a_change_and_does_not_write(tmp_path: Path) -> None:
    """On a copy of the tool that has another frozen wire beside it."""
    other = deepcopy(FROZEN)
    other[PACKET]["1"] = "uint32 sequence"
    (tmp_path / "breaking.py").write_bytes((ROOT / "protos" / "breaking.py").read_bytes())
    frozen = tmp_path / "frozen.json"
    frozen.write_text(json.dumps(other))
    ran = subprocess.run(
        [sys.executable, tmp_path / "breaking.py", "--write"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "1 was uint32 sequence, and is uint64 sequence" in ran.stderr
    assert json.loads(frozen.read_text()) == other
