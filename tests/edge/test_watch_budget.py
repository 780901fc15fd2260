from __future__ import annotations

from dataclasses import replace

import pytest

from saccade.bundle import Bundle
from saccade.client import EncodeOptions
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


def watch_budget(
    manifest: Manifest,
    *,
    asked: bool = False,
    pipeline: PipelineSettings | None = None,
    **budget: object,
) -> WatchBudget:
    settings = BudgetSettings(**budget)  # type: ignore[arg-type]
    return WatchBudget(manifest, pipeline or PipelineSettings(), "gate", settings, asked=asked)


def test_each_point_has_its_plan(manifest: Manifest) -> None:
    it = watch_budget(manifest, policy="fixed", point=3)
    planned = it.plan_frame()
    assert planned.decision is not None
    assert planned.plan is not None
    point = manifest.points[3]
    assert (planned.plan.tokens, planned.plan.codec, planned.plan.layers) == (
        point.tokens,
        point.codec,
        point.layers,
    )
    assert (planned.decision.number, it.last) == (3, planned.decision)


@pytest.mark.parametrize(
    "pipeline",
    [
        PipelineSettings(EncodeOptions(codec="f16")),
        PipelineSettings(EncodeOptions(tokens_per_view=8)),
        PipelineSettings(layers=1),
        PipelineSettings(EncodeOptions(max_crops=0)),
    ],
)
def test_what_the_user_fixes_leaves_no_budget(
    manifest: Manifest, pipeline: PipelineSettings
) -> None:
    it = watch_budget(manifest, pipeline=pipeline)
    it.on_event(CloudBudget(40, "load"))
    planned = it.plan_frame()
    assert (planned.decision, planned.plan) == (None, None)
    assert (it.spent(), it.bytes_today, it.rate_bytes_per_s) == ("", 0, None)
    with pytest.raises(ConfigError, match="there is no budget to keep"):
        watch_budget(manifest, asked=True, pipeline=pipeline)


def test_a_bundle_without_points_has_no_budget(manifest: Manifest) -> None:
    bare = replace(manifest, points=())
    assert watch_budget(bare).plan_frame().decision is None
    with pytest.raises(ConfigError, match="has no operating points"):
        watch_budget(bare, asked=True)


def test_what_the_uplink_tells_decides(manifest: Manifest) -> None:
    it = watch_budget(manifest)

    def bound() -> str | None:
        decision = it.plan_frame().decision
        return decision.bound if decision else None

    it.on_event(Connected("cloud", 0))
    assert bound() == "start"
    it.on_event(PacketSent(1, 200, live=True, point=5))
    it.on_event(Acknowledged(1, 200, True, 10.0, 0, live=True))
    it.on_event(ConnectionLost(Unreachable("gone"), 1.0))
    assert (bound(), it.backlog_bytes_per_s()) == ("connection", 0)
    it.on_event(Connected("cloud", 0))
    it.on_event(CloudBudget(60, "load"))
    it.on_event(PacketSent(2, 200, live=True, point=5))
    assert (bound(), it.backlog_bytes_per_s()) == ("cloud", 0)
    it.on_event(Refused(Unreachable("no"), 2))
    assert (it.points[5], it.bytes_today) == (2, 600)


def test_the_days_bytes_are_counted_on_after_a_restart(manifest: Manifest) -> None:
    first = watch_budget(manifest, bytes_per_day=1000)
    first.on_event(PacketSent(1, 900, live=False))
    second = watch_budget(manifest, bytes_per_day=1000)
    second.resume(first.spent())
    decision = second.plan_frame().decision
    assert decision is not None
    assert (second.bytes_today, decision.bound, decision.live) == (1000, "cap", False)


@pytest.mark.parametrize("text", ["", "x", "1", "-1 5", "1 2 3", "9" * 40 + " 1", "1 " + "9" * 40])
def test_a_count_that_cannot_be_read_counts_as_nothing(manifest: Manifest, text: str) -> None:
    it = watch_budget(manifest)
    it.resume(text)
    assert it.bytes_today == 0


def test_usual_policies() -> None:
    assert usual_policy(live=True, point=None) == "robust"
    assert usual_policy(live=True, point=4) == "fixed"
    assert usual_policy(live=False, point=None) == "fixed"
