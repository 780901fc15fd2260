"""What a watch asks before each frame: the budget, with a clock and with what the uplink tells.

Where the user says how every frame is coded (codec, tokens, layers, crops), or the bundle has no
operating points, there is no budget: frames go that way.
"""

from __future__ import annotations

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from saccade.errors import ConfigError
from saccade.manifest import Manifest
from saccade_edge.budget import BudgetSettings, Controller, Decision, Policy
from saccade_edge.plan import PipelineSettings, Plan, settle
from saccade_edge.spool import SpoolEvent
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    CloudBudget,
    Connected,
    ConnectionLost,
    PacketSent,
    Refused,
    UplinkEvent,
)

# Of a bundle, by the user's settings; the policy is the user's own, if there is one.
MakeController = Callable[[Manifest, BudgetSettings, Policy | None], Controller]

# A day, counted from 1970, and bytes.
SPENT = re.compile(r"([0-9]{1,6}) ([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class PlannedFrame:
    """How one frame goes; ``decision`` and ``plan`` are None where there is no budget."""

    decision: Decision | None = None
    plan: Plan | None = None


class WatchBudget:
    """Of one camera; belongs to the event loop. ``asked``: somebody wants ``settings`` kept.
    ``make`` is called where there is a budget.

    Raises ``ConfigError`` where a budget is asked for and there is nothing to choose from.
    """

    def __init__(
        self,
        manifest: Manifest,
        pipeline: PipelineSettings,
        camera: str,
        settings: BudgetSettings,
        *,
        asked: bool = False,
        policy: Policy | None = None,
        make: MakeController = Controller,
    ) -> None:
        self.camera = camera
        self.settings = settings
        self.last: Decision | None = None
        self.points: Counter[int] = Counter()  # live frames that were sent, by point
        self._controller: Controller | None = None
        self._plans: list[Plan] = []
        fixed = _fixed_by(manifest, pipeline)
        if fixed and (asked or policy is not None):
            raise ConfigError(f"there is no budget to keep: {fixed}")
        if not fixed:
            self._controller = make(manifest, settings, policy)
            self._plans = [
                settle(manifest, replace(pipeline, encode=replace(pipeline.encode, point=number)))
                for number in range(len(manifest.points))
            ]

    @property
    def rate_bytes_per_s(self) -> float | None:
        """What the link is expected to carry, None where nothing is known."""
        return self._controller.rate_bytes_per_s if self._controller else None

    def plan_frame(self, *, again: bool = False) -> PlannedFrame:
        """Of the next frame; ``again``: of the same one, which has waited."""
        if self._controller is None:
            return PlannedFrame()
        decision = self._controller.decide(time.monotonic(), time.time(), self.camera, again=again)
        self.last = decision
        return PlannedFrame(decision, self._plans[decision.number])

    def spent(self) -> str:
        """What the camera has sent today, for ``resume`` in a later run; empty without a budget."""
        if self._controller is None:
            return ""
        day, used_bytes = self._controller.spent(time.time(), self.camera)
        return f"{day} {used_bytes}"

    @property
    def bytes_today(self) -> int:
        """Headers included; 0 without a budget."""
        if self._controller is None:
            return 0
        return self._controller.spent(time.time(), self.camera)[1]

    def resume(self, spent: str) -> None:
        """Count on from what an earlier run ``spent``; what cannot be read counts as nothing."""
        counted = SPENT.fullmatch(spent)
        if self._controller is not None and counted:
            self._controller.restore(self.camera, int(counted[1]), int(counted[2]))

    def backlog_bytes_per_s(self) -> float:
        """How much of the link the spool may have now."""
        if self._controller is None:
            return math.inf
        return self._controller.spare_bytes_per_s(time.monotonic(), time.time(), self.camera)

    def on_event(self, event: UplinkEvent | SpoolEvent) -> None:
        """What the uplink tells, in its order."""
        if isinstance(event, PacketSent) and event.point is not None:
            self.points[event.point] += 1
        if self._controller is not None:
            self._pass_on(event, self._controller, time.monotonic())

    def _pass_on(
        self, event: UplinkEvent | SpoolEvent, controller: Controller, now_s: float
    ) -> None:
        if isinstance(event, PacketSent):
            controller.sent(
                event.sequence,
                event.packet_bytes,
                now_s,
                camera=self.camera,
                number=event.point,
                unix_s=time.time(),
            )
        elif isinstance(event, Acknowledged):
            controller.acknowledged(event.sequence, event.received_unix_ms, now_s)
        elif isinstance(event, Refused):
            if not event.question:
                controller.refused(event.sequence)
        elif isinstance(event, CloudBudget):
            controller.bounded(event.frames_per_minute, event.reason, phase=random.random())
        elif isinstance(event, Connected):
            controller.connected(now_s)
        elif isinstance(event, ConnectionLost):
            controller.lost_connection(now_s)


def usual_policy(*, live: bool, point: int | None) -> str:
    """A camera's frames adapt to the link; a recording waits for it, and a point that the user
    names is meant.
    """
    return "robust" if live and point is None else "fixed"


def _fixed_by(manifest: Manifest, pipeline: PipelineSettings) -> str:
    """What leaves a budget nothing to choose, empty where nothing does."""
    given = {
        "codec": pipeline.encode.codec,
        "tokens": pipeline.encode.tokens_per_view,
        "layers": pipeline.layers,
        "crops": pipeline.encode.max_crops,
    }
    if names := [name for name, value in given.items() if value is not None]:
        return f"with {', '.join(names)} given, every frame is coded alike"
    return "" if manifest.points else f"bundle {manifest.name!r} has no operating points"
