"""The edge of a trial: the product's daemon over a looped clip, with the parts of its arm.

    python -m bench.link.trial.edge PLAN.json

Prints one JSON object per event, as `saccade edge run --json` does, each with ``at_ns``, the Unix
time at which it was heard; ``FrameTaken`` for each frame that goes to the cloud or to the spool;
``FirstToken`` with an answer's first piece; last ``Source``.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.link.trace import Trace
from bench.link.trial.foresight import Foresight
from bench.link.trial.looped import LoopedSource
from bench.link.trial.pictures import PicturePipeline, live_codec, with_points
from saccade.bundle import Bundle
from saccade.manifest import Manifest, OperatingPoint, TokensByKind
from saccade_edge.budget import BudgetSettings, Policy
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.event_lines import decision_record, to_record
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.spool import SpoolSettings
from saccade_edge.uplink.uplink_events import AnswerPiece
from saccade_edge.watch_events import Event, FrameSent, FrameSpooled
from saccade_edge.watch_parts import WatchParts

QUESTION = "how many vehicles are there ?"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """What an edge process is told. ``codec``: of pictures, empty for tokens; ``points``: of its
    qualities; ``link_unix_s``: the link's second 0; ``times_s``, ``through``, ``delay_s``: its
    trace, for the oracle. Frames are captured from ``begin_unix_s`` on.
    """

    cloud: str
    bundle: str
    clip: str
    spool: str
    policy: str
    codec: str
    points: tuple[OperatingPoint, ...]
    frames: int
    fps: float
    deadline_s: float
    begin_unix_s: float
    link_unix_s: float
    times_s: tuple[float, ...]
    through: tuple[float, ...]
    delay_s: float

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> EdgePlan:
        fields: dict[str, Any] = json.loads(path.read_text())
        for point in (points := fields.pop("points")):
            point["tokens"] = TokensByKind(**point["tokens"])
        return cls(**fields, points=tuple(OperatingPoint(**point) for point in points))


def _source(plan: EdgePlan, camera: str) -> LoopedSource:
    return LoopedSource(
        plan.clip,
        camera,
        count=plan.frames,
        interval_s=1 / plan.fps,
        begin_unix_s=plan.begin_unix_s,
    )


def _parts(plan: EdgePlan, source: LoopedSource) -> WatchParts:
    parts = WatchParts(source=lambda: source)
    if plan.codec:
        parts = replace(parts, pipeline=partial(PicturePipeline, codec=live_codec(plan.codec)))
    if plan.policy == ORACLE:
        parts = replace(parts, controller=partial(_foresight, plan))
    return parts


def _foresight(
    plan: EdgePlan, manifest: Manifest, settings: BudgetSettings, _: Policy | None
) -> Foresight:
    return Foresight(
        manifest,
        settings,
        Trace(np.array(plan.times_s), np.array(plan.through), delay_s=plan.delay_s),
        lambda: time.time() - plan.link_unix_s,
        plan.frames,
    )


def _settings(plan: EdgePlan) -> WatchSettings:
    return WatchSettings(
        source=plan.clip,
        cloud=plan.cloud,
        questions=(QUESTION,),
        device="trial",
        fps=plan.fps,
        live=True,
        drain_s=plan.deadline_s + 0.5,
        spool=SpoolSettings(Path(plan.spool)),
        deadline_s=plan.deadline_s,
        budget=BudgetSettings(
            policy="robust" if plan.policy == ORACLE else plan.policy,
            max_point="best",
            deadline_s=plan.deadline_s,
            interval_s=1 / plan.fps,
        ),
        pipeline=PipelineSettings(
            gate=GateSettings(threshold=0), runtime=RuntimeSettings(threads=1)
        ),
    )


def _printer() -> Callable[[Event], None]:
    heard: set[int] = set()

    def show(event: Event) -> None:
        if isinstance(event, AnswerPiece):
            if event.sequence in heard:
                return
            heard.add(event.sequence)
            tell({"event": "FirstToken", "sequence": event.sequence})
        elif isinstance(event, (FrameSent, FrameSpooled)):
            frame, decision = event.result.frame, decision_record(event.decision)
            told = {"event": "FrameTaken", "sequence": frame.sequence}
            told |= {"captured_ns": frame.captured_ns, "packet_bytes": event.packet_bytes}
            tell({**told, **decision})
        elif record := to_record(event):
            tell(record)

    return show


def tell(record: dict[str, Any]) -> None:
    print(json.dumps({**record, "at_ns": time.time_ns()}), flush=True)


async def _watch(plan: EdgePlan) -> None:
    bundle, settings = Bundle.open(plan.bundle), _settings(plan)
    if plan.points:
        bundle = with_points(bundle, plan.points)
    source = _source(plan, settings.camera)
    watch = Watch(bundle, settings, _printer(), _parts(plan, source))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, watch.stop)
    await watch.run()
    tell({"event": "Source", "captured": plan.frames, "replaced": source.replaced})


if __name__ == "__main__":
    asyncio.run(_watch(EdgePlan.read(Path(sys.argv[1]))))
