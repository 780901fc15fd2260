"""ARCHITECTURE.md names every module, and no module that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "protos": "saccade",
    "edge": "saccade_edge",
    "cloud": "saccade_cloud",
    "export": "saccade_export",
}


def _modules(folder: str, package: str) -> set[str]:
    root = ROOT / folder / package
    found = {str(p.relative_to(root)) for p in root.rglob("*.py")}
    return {n for n in found if not n.endswith("__init__.py") and "_pb2" not in n}


def test_every_module_is_named_and_every_name_is_a_module() -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()))
    there = {name for item in PACKAGES.items() for name in _modules(*item)}
    assert sorted(there - named) == []
    assert sorted(named - there - {"generate.py"}) == []
