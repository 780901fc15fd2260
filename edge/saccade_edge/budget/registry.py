"""Policies by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from saccade.errors import ConfigError
from saccade_edge.budget.awstream import Awstream
from saccade_edge.budget.base import Policy
from saccade_edge.budget.budget_settings import BudgetSettings
from saccade_edge.budget.ewma import Ewma
from saccade_edge.budget.fixed import Fixed
from saccade_edge.budget.robust import Robust

# A maker takes the settings and the point that is used where nothing is adapted.
POLICIES: Mapping[str, Callable[[BudgetSettings, int], Policy]] = {
    "robust": lambda settings, point: Robust(settings.deadline_s, settings.point),
    "fixed": lambda settings, point: Fixed(point),
    "ewma": lambda settings, point: Ewma(),
    "awstream": lambda settings, point: Awstream(),
}


def make_policy(settings: BudgetSettings, point: int) -> Policy:
    """The policy that the settings name. Raises ``ConfigError`` for an unknown name."""
    if settings.policy not in POLICIES:
        raise ConfigError(
            f"unknown budget policy {settings.policy!r}, known are: {', '.join(POLICIES)}"
        )
    return POLICIES[settings.policy](settings, point)
