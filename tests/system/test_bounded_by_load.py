"""A real edge sends fewer frames while a real cloud's answers wait, and more again afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from saccade.bundle import Bundle
from saccade_cloud.assemble import open_engine
from saccade_edge.daemon import Watch, WatchSettings
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.uplink import CloudBudget
from saccade_edge.watch_events import Event, FrameSent, FrameWithheld
from saccade_testing.cloud_server import QUICK, HeldEngine, serving

EVERY_FRAME = PipelineSettings(gate=GateSettings(threshold=0), runtime=RuntimeSettings(threads=1))


def test_frames_a_minute_fall_and_return(bundle: Bundle, clip: Path) -> None:
    events: list[Event] = []

    async def main() -> None:
        engine = HeldEngine(open_engine(bundle))
        async with serving(bundle, engine, replace(QUICK, answer_wait_s=0.5)) as served:

            def show(event: Event) -> None:
                events.append(event)
                if isinstance(event, FrameWithheld):
                    engine.gate.set()
                bounds = [e for e in events if isinstance(e, CloudBudget)]
                free = bool(bounds) and bounds[-1].frames_per_minute == 0
                if free and isinstance(event, FrameSent):
                    watch.stop()

            settings = WatchSettings(
                source=str(clip), cloud=served.address, questions=("what is the weather ?",),
                fps=4, live=True, pipeline=EVERY_FRAME,
            )  # fmt: skip
            watch = Watch(bundle, settings, show)
            await watch.run()

    asyncio.run(asyncio.wait_for(main(), 100))
    bounds = [e.frames_per_minute for e in events if isinstance(e, CloudBudget)]
    freed = bounds.index(0)  # the frame that was sent then may bring the next bound
    assert freed > 0
    assert 1 <= min(bounds[:freed]) <= 240  # its frames a minute
    withheld = [e.decision for e in events if isinstance(e, FrameWithheld)]
    assert {decision.bound for decision in withheld} == {"cloud"}
    assert "answers wait" in withheld[0].reason
    free = [at for at, e in enumerate(events) if isinstance(e, CloudBudget)][freed]
    last = next(e for e in events[free:] if isinstance(e, FrameSent)).decision
    assert last is not None
    assert last.bound != "cloud"
