from __future__ import annotations

from dataclasses import replace

import pytest

from saccade.bundle import Bundle
from saccade.errors import ConfigError, Unreachable
from saccade.manifest import Manifest
from saccade_edge.budget import BudgetSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.uplink import (
    Acknowledged,
    CloudBudget,
    Connected,
    ConnectionLost,
    PacketSent,
    Refused,
)
from saccade_edge.watch_budget import WatchBudget, usual_policy
from saccade_testing.shipped import SHIPPED


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return Bundle.open(SHIPPED).manifest


def allowance(
    manifest: Manifest,
    *,
    asked: bool = False,
    pipeline: PipelineSettings | None = None,
    **budget: object,
) -> WatchBudget:
    settings = BudgetSettings(**budget)  # type: ignore[arg-type]
    return WatchBudget(manifest, pipeline or PipelineSettings(), "gate", settings, asked=asked)


def test_each_point_has_its_plan(manifest: Manifest) -> None:
    it = allowance(manifest, policy="fixed", point=3)
    terms = it.terms()
    assert terms.decision is not None
    assert terms.plan is not None
    point = manifest.points[3]
    assert (terms.plan.tokens, terms.plan.codec, terms.plan.layers) == (
        point.tokens,
        point.codec,
        point.layers,
    )
    assert (terms.decision.number, it.last) == (3, terms.decision)


@pytest.mark.parametrize(
    "given", [{"codec": "f16"}, {"tokens_per_view": 8}, {"layers": 1}, {"max_crops": 0}]
)
def test_what_the_user_fixes_leaves_no_budget(manifest: Manifest, given: dict[str, object]) -> None:
    pipeline = PipelineSettings(**given)  # type: ignore[arg-type]
    it = allowance(manifest, pipeline=pipeline)
    it.heard(CloudBudget(40, "load"))
    terms = it.terms()
    assert (terms.decision, terms.plan) == (None, None)
    assert (it.spent(), it.bytes_today, it.rate_bytes_per_s) == ("", 0, None)
    with pytest.raises(ConfigError, match="there is no budget to keep"):
        allowance(manifest, asked=True, pipeline=pipeline)


def test_a_bundle_without_points_has_no_budget(manifest: Manifest) -> None:
    bare = replace(manifest, points=())
    assert allowance(bare).terms().decision is None
    with pytest.raises(ConfigError, match="has no operating points"):
        allowance(bare, asked=True)


def test_what_the_uplink_tells_decides(manifest: Manifest) -> None:
    it = allowance(manifest)

    def bound() -> str | None:
        decision = it.terms().decision
        return decision.bound if decision else None

    it.heard(Connected("cloud", 0))
    assert bound() == "start"
    it.heard(PacketSent(1, 200, live=True, point=5))
    it.heard(Acknowledged(1, 200, True, 10.0, 0, live=True))
    it.heard(ConnectionLost(Unreachable("gone"), 1.0))
    assert (bound(), it.backlog_bytes_per_s()) == ("connection", 0)
    it.heard(Connected("cloud", 0))
    it.heard(CloudBudget(60, "load"))
    it.heard(PacketSent(2, 200, live=True, point=5))
    assert (bound(), it.backlog_bytes_per_s()) == ("cloud", 0)
    it.heard(Refused(Unreachable("no"), 2))
    assert (it.points[5], it.bytes_today) == (2, 600)


def test_the_days_bytes_are_counted_on_after_a_restart(manifest: Manifest) -> None:
    first = allowance(manifest, bytes_per_day=1000)
    first.heard(PacketSent(1, 900, live=False))
    second = allowance(manifest, bytes_per_day=1000)
    second.resume(first.spent())
    decision = second.terms().decision
    assert decision is not None
    assert (second.bytes_today, decision.bound, decision.live) == (1000, "cap", False)


@pytest.mark.parametrize("text", ["", "x", "1", "-1 5", "1 2 3", "9" * 40 + " 1", "1 " + "9" * 40])
def test_a_count_that_cannot_be_read_counts_as_nothing(manifest: Manifest, text: str) -> None:
    it = allowance(manifest)
    it.resume(text)
    assert it.bytes_today == 0


def test_usual_policies() -> None:
    assert usual_policy(live=True, point=None) == "robust"
    assert usual_policy(live=True, point=4) == "fixed"
    assert usual_policy(live=False, point=None) == "fixed"
