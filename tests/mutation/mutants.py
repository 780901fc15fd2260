"""All small faults that can be put into a module, and a seeded sample of them."""

from __future__ import annotations

import ast
import difflib
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso  # before cosmic_ray: parso's modules import each other in this order only
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator, operator_names

from mutation.operators import RemoveStatement, SwapMinAndMax

__all__ = ["Mutant", "known_equivalents", "mutants_of", "parso"]


_GUARDS = ("frozen", "slots", "strict")


@dataclass(frozen=True)
class Mutant:
    """``source`` is the module ``path`` with one fault; ``change`` shows the lines that differ."""

    path: str
    line: int
    change: str
    source: str

    @property
    def key(self) -> tuple[str, str]:
        """What names it in the list of equivalent mutants: no line number, which moves."""
        return self.path, self.change


def mutants_of(root: Path, path: str, count: int, seed: int) -> list[Mutant]:
    """``count`` mutants of ``path``, at most one at each place in the code that can be changed."""
    source = (root / path).read_text()
    at: dict[tuple[int, int], list[tuple[Operator, int]]] = defaultdict(list)
    for operator, occurrence, start in _all_of(source):
        at[start].append((operator, occurrence))
    chance = random.Random(f"{seed} {path}")
    places = sorted(at)
    chance.shuffle(places)
    known = known_equivalents()
    found: list[Mutant] = []
    for place in places:
        operator, occurrence = chance.choice(at[place])
        mutant = _mutant(path, source, operator, occurrence, place[0])
        if mutant is not None and mutant.key not in known:
            found.append(mutant)
        if len(found) == count:
            break
    return found


def known_equivalents() -> set[tuple[str, str]]:
    """The keys in ``equivalent.txt``: "path | change | reason" in each line."""
    lines = (Path(__file__).parent / "equivalent.txt").read_text().splitlines()
    keys: set[tuple[str, str]] = set()
    for line in filter(lambda line: line and not line.startswith("#"), lines):
        path, _, rest = line.partition(" | ")
        change, _, reason = rest.rpartition(" | ")
        if not (change and reason.strip()):
            raise ValueError(f"equivalent.txt: {line!r} is not 'path | change | reason'")
        keys.add((path, change))
    return keys


def _all_of(source: str) -> Iterator[tuple[Operator, int, tuple[int, int]]]:
    nodes = list(ast_nodes(get_ast(source)))
    for operator in _operators():
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            yield operator, occurrence, start


def _operators() -> Iterator[Any]:
    """Those of cosmic-ray that need no arguments, and ours. ``is`` in the place of another
    comparison is left out: whether small numbers are one object is Python's affair.
    """
    for name in operator_names():
        kind = get_operator(name)
        if not kind.arguments() and not name.endswith(("_Is", "_IsNot")):
            yield kind()
    yield RemoveStatement()
    yield SwapMinAndMax()


def _mutant(
    path: str, source: str, operator: Operator, occurrence: int, line: int
) -> Mutant | None:
    """None where the fault changes nothing that runs: in an annotation, say."""
    try:
        changed = mutate_code(source, operator, occurrence)
    except AttributeError:  # cosmic-ray's operator for exceptions, on a dotted name
        return None
    if changed is None:
        return None
    try:
        if _what_runs(changed) == _what_runs(source):
            return None
    except SyntaxError:
        return None
    return Mutant(path, line, _change(source, changed), changed)


class _Strip(ast.NodeTransformer):
    """Takes away what changes no result: annotations (the modules import them from __future__),
    and what only guards against a programming error: ``frozen``, ``slots`` and ``strict``.
    """

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        return None if node.arg in _GUARDS else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _what_runs(source: str) -> str:
    return ast.dump(_Strip().visit(ast.parse(source)))


def _change(before: str, after: str) -> str:
    """The changed lines in one: ``if a > b: -> if a >= b:``."""
    old, new = [], []
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
        if line.startswith("-") and not line.startswith("---"):
            old.append(line[1:].strip())
        elif line.startswith("+") and not line.startswith("+++"):
            new.append(line[1:].strip())
    return f"{' '.join(old)} -> {' '.join(new)}"
