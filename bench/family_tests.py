"""Which families pass the parity tests: the tests themselves are run, and counted by family."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[1]
PARITY = ("tests/system/parity",)
PREPROCESS = (
    "tests/export/test_tiled_preprocessing.py",
    "tests/export/test_grid_preprocessing.py",
)
SMOLLM2 = "tests/export/test_smollm2.py::test_tokens_and_logits_are_those_of_transformers"
# Longest names first: one may begin with another.
FAMILIES = (
    "llava-onevision", "qwen2.5-vl", "paligemma", "qwen2-vl", "qwen3-vl", "internvl", "idefics3",
    "smolvlm", "gemma3", "llava",
)  # fmt: skip
_PRUNED = re.compile("kept|merged|pruned|half the tokens|fewer")
_LOGITS = re.compile(r"largest difference of logits ([0-9.e+-]+)")


@dataclass(frozen=True, slots=True)
class Case:
    """A test that ran. ``passed``: None where it was skipped."""

    name: str
    passed: bool | None
    printed: str


@dataclass(frozen=True, slots=True)
class Count:
    """Tests of one family."""

    passed: int = 0
    failed: int = 0

    @property
    def good(self) -> bool:
        return self.passed > 0 and not self.failed

    def __str__(self) -> str:
        whole = self.passed + self.failed
        return f"{self.passed} of {whole}" if whole else "-"


def run(paths: Sequence[str], timeout_s: float) -> list[Case]:
    """The outcomes of the tests in ``paths``; none where they don't end in time."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
        options = [f"--junitxml={report}", "-o", "junit_logging=system-out"]
        try:
            subprocess.run(
                [*command, *options],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print(f"{' '.join(paths)} took more than {timeout_s:.0f} s", file=sys.stderr)
        return list(_cases(report)) if report.exists() else []


def by_family(cases: Iterable[Case]) -> dict[str, Count]:
    """Counts of the tests that name a family among their parameters."""
    counts: dict[str, Count] = {name: Count() for name in FAMILIES}
    for case in cases:
        parameters = case.name.partition("[")[2]
        family = next((name for name in FAMILIES if name in parameters), None)
        if family is None or case.passed is None:
            continue
        old = counts[family]
        counts[family] = Count(old.passed + case.passed, old.failed + (not case.passed))
    return counts


def parted(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """(with all tokens, with some of them)."""
    every = list(cases)
    pruned = [case for case in every if _PRUNED.search(case.name)]
    return [case for case in every if not _PRUNED.search(case.name)], pruned


def largest_difference(cases: Iterable[Case]) -> float | None:
    """Of logits, as the tests print it; None where one failed, or none ran."""
    found = [case for case in cases if case.passed is not None]
    if not found or not all(case.passed for case in found):
        return None
    printed = (_LOGITS.findall(case.printed) for case in found)
    return max((float(number) for numbers in printed for number in numbers), default=None)


def good(counts: Mapping[str, Count]) -> int:
    """How many families pass."""
    return sum(count.good for count in counts.values())


def _cases(report: Path) -> Iterable[Case]:
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        passed = None if "skipped" in kinds else not kinds & {"failure", "error"}
        yield Case(case.get("name", ""), passed, case.findtext("system-out", ""))
