"""How much each frame may cost, from what the link has shown and what cloud and user allow."""

from saccade_edge.budget.base import Choice, Delivery, Moment, Policy
from saccade_edge.budget.budget_settings import BudgetSettings
from saccade_edge.budget.controller import Controller
from saccade_edge.budget.decision import Bound, Decision
from saccade_edge.budget.registry import POLICIES, make_policy

__all__ = [
    "POLICIES",
    "Bound",
    "BudgetSettings",
    "Choice",
    "Controller",
    "Decision",
    "Delivery",
    "Moment",
    "Policy",
    "make_policy",
]
