"""Which tokens of a view are kept: ``select(grid, budget, method=...)``."""

from saccade.selection.base import Selector
from saccade.selection.registry import METHODS, select

__all__ = ["METHODS", "Selector", "select"]
