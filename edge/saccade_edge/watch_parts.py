"""What of a watch a program may bring itself: where frames come from, what looks at them, and what
decides how each goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from saccade.bundle import Bundle
from saccade_edge.budget import Controller
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import Source
from saccade_edge.watch_budget import MakeController


@dataclass(frozen=True, slots=True)
class WatchParts:
    """Makers of a watch's parts, the product's own unless given; each is called once in a ``run``,
    and what it raises ends the run.

    ``source``: None: what the settings name. The watch closes it, whoever made it. ``pipeline``:
    its settings know the camera's place in what the uplink says. ``controller``:
    one of yours is asked for like a budget, an error where the settings leave nothing to choose.
    """

    source: Callable[[], Source] | None = None
    pipeline: Callable[[Bundle, PipelineSettings], Pipeline] = Pipeline
    controller: MakeController = Controller


DEFAULT_PARTS = WatchParts()
