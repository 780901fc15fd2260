"""Which tokens of a view are kept: ``select(grid, budget, method=...)``; and how many of each
view: ``allot(grids, windows, budget, method=...)``.
"""

from saccade.selection.base import Selector
from saccade.selection.positions import member_positions
from saccade.selection.quotas import QUOTAS, allot
from saccade.selection.registry import METHODS, TEXT_GUIDED, UNGUIDED, select

__all__ = [
    "METHODS",
    "QUOTAS",
    "TEXT_GUIDED",
    "UNGUIDED",
    "Selector",
    "allot",
    "member_positions",
    "select",
]
