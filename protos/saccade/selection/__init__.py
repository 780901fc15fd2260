"""Which tokens of a view are kept: ``select(grid, budget, method=...)``; and how many of each
view: ``allot(grids, windows, budget, method=...)``.
"""

from saccade.selection.base import Selector
from saccade.selection.needs import COVERAGE_METHOD, NEEDS, Need, missing, usable
from saccade.selection.positions import member_positions
from saccade.selection.quotas import QUOTAS, allot
from saccade.selection.registry import METHODS, TEXT_GUIDED, UNGUIDED, select

__all__ = [
    "COVERAGE_METHOD",
    "METHODS",
    "NEEDS",
    "QUOTAS",
    "TEXT_GUIDED",
    "UNGUIDED",
    "Need",
    "Selector",
    "allot",
    "member_positions",
    "missing",
    "select",
    "usable",
]
