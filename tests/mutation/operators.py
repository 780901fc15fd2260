"""Kinds of fault that cosmic-ray has no operator for: a statement that is gone, the wrong bound."""

# pyright: reportIncompatibleMethodOverride=false
# cosmic-ray's base class has no types: to pyright its methods return nothing.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name
from parso.tree import BaseNode

Node = Any  # of parso, whose methods have no types
Position = tuple[tuple[int, int], tuple[int, int]]

_OTHER_BOUND = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}


class RemoveStatement(Operator):  # type: ignore[misc]  # cosmic-ray has no types
    """A call, a change of an attribute or an item, or a raise becomes ``pass``."""

    def mutation_positions(self, node: Node) -> Iterator[Position]:
        if _has_effect(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        return Name("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("a.b = 1", "pass"), Example("a(1)", "pass"), Example("a += 1", "pass"))


class SwapMinAndMax(Operator):  # type: ignore[misc]  # as above
    """``min`` for ``max``, ``np.maximum`` for ``np.minimum``, and the other way round."""

    def mutation_positions(self, node: Node) -> Iterator[Position]:
        if isinstance(node, Name) and node.value in _OTHER_BOUND:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        return Name(_OTHER_BOUND[node.value], node.start_pos, prefix=node.prefix)

    @classmethod
    def examples(cls) -> Sequence[Example]:
        return (Example("min(a, b)", "max(a, b)"),)


def _has_effect(node: Node) -> bool:
    """Whether ``node`` is a statement that something outside of its function may notice.

    Assignments to local names are left out: without them the next line raises a NameError.
    """
    if node.parent is None or node.parent.type != "simple_stmt" or not isinstance(node, BaseNode):
        return False
    if node.type == "expr_stmt":
        target = node.children[0]
        augmented = isinstance(node.children[1], BaseNode) or _text(node.children[1]) != "="
        return target.type in ("power", "atom_expr") or (augmented and ":" not in _text(node))
    return node.type in ("raise_stmt", "power", "atom_expr", "await")


def _text(node: Node) -> str:
    return str(node.get_code(include_prefix=False))
