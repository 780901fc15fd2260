"""Methods by name, and the one function that stages call."""

from __future__ import annotations

from collections.abc import Mapping

from saccade.errors import SelectionError
from saccade.nouns import TokenGrid, TokenSet
from saccade.selection.base import Selector
from saccade.selection.cls_ensemble import cls_ensemble
from saccade.selection.random import random
from saccade.selection.uniform import uniform

METHODS: Mapping[str, Selector] = {
    "cls_ensemble": cls_ensemble,
    "uniform": uniform,
    "random": random,
}


def select(
    grid: TokenGrid, budget: int, *, method: str = "cls_ensemble", seed: int = 0
) -> TokenSet:
    """``budget`` of the grid's tokens by a named method.

    Raises SelectionError for an unknown method, a budget outside 1..T, a negative seed, or a grid
    that the method can't rank.
    """
    selector = METHODS.get(method)
    if selector is None:
        known = ", ".join(sorted(METHODS))
        raise SelectionError(f"unknown selection method {method!r}, known are: {known}")
    tokens = len(grid.features)
    if not 1 <= budget <= tokens:
        raise SelectionError(
            f"a budget of {budget} tokens for a view of {tokens}: give 1..{tokens}"
        )
    if seed < 0:
        raise SelectionError(f"a seed of {seed}: give 0 or more")
    return selector(grid, budget, seed=seed)
