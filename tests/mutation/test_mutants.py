"""`make mutation` puts in faults that change what runs, the same ones for the same seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutation.chosen import CHOSEN
from mutation.mutants import known_equivalents, mutants_of

ROOT = Path(__file__).parents[2]

SOURCE = '''from __future__ import annotations


def largest(items: list[int] | None, bound: int = 3) -> int:
    """Says nothing that runs."""
    if not items:
        raise ValueError("nothing")
    items.append(bound)
    return max(items)
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "module.py").write_text(SOURCE)
    return tmp_path


def changes(module: Path, count: int = 100, seeds: int = 20) -> set[str]:
    found = [mutants_of(module, "module.py", count, seed) for seed in range(seeds)]
    return {mutant.change for mutants in found for mutant in mutants}


def test_statements_are_removed_bounds_swapped_and_conditions_turned(module: Path) -> None:
    assert {
        'raise ValueError("nothing") -> pass',
        "items.append(bound) -> pass",
        "return max(items) -> return min(items)",
        "if not items: -> if  items:",
        "def largest(items: list[int] | None, bound: int = 3) -> int: -> "
        "def largest(items: list[int] | None, bound: int = 4) -> int:",
    } <= changes(module)


def test_annotations_and_docstrings_are_left_alone(module: Path) -> None:
    assert not any("list[int] |" not in each and "list[int]" in each for each in changes(module))
    assert not any("Says" in each for each in changes(module))


def test_a_seed_gives_the_same_faults_and_each_place_has_one(module: Path) -> None:
    first, again = (mutants_of(module, "module.py", 3, seed=7) for _ in range(2))
    assert first == again
    assert len({mutant.change for mutant in first}) == 3
    for mutant in first:
        assert mutant.source != SOURCE
        compile(mutant.source, mutant.path, "exec")


def test_every_chosen_module_and_test_is_there_once() -> None:
    modules = [path for group in CHOSEN.values() for path in group.modules]
    assert len(set(modules)) == len(modules)
    tests = [path for group in CHOSEN.values() for path in group.tests]
    missing = [path for path in (*modules, *tests) if not (ROOT / path).is_file()]
    assert missing == []


def test_every_equivalent_fault_names_a_line_that_is_there() -> None:
    for path, change in known_equivalents():
        old = change.rsplit(" -> ", 1)[0].split("  ")[-1].strip()
        lines = {line.strip() for line in (ROOT / path).read_text().splitlines()}
        assert old in lines, f"{path}: {old}"
