"""Cameras and recordings without pictures, many in one process: all of an edge but its encoder.

The real frame loop, budget, uplink and spool; the thread of frames gives packets that were made
before, each a frame of its own. What became of each frame is returned once all is over.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saccade.bundle import Bundle
from saccade.errors import NotInFrame
from saccade.tasks import end
from saccade.turns import asking
from saccade.types import Frame, Timing
from saccade.v1 import tokens_pb2
from saccade_edge.budget import BudgetSettings
from saccade_edge.frame_loop import FrameLoop
from saccade_edge.frame_thread import FrameThread, TakenFrame
from saccade_edge.frame_tracker import FrameTracker
from saccade_edge.gate import Verdict
from saccade_edge.periodic_tasks import PeriodicTasks
from saccade_edge.pipeline import FrameResult
from saccade_edge.plan import PipelineSettings, Plan
from saccade_edge.spool import Spool, SpoolEvent, SpoolSettings
from saccade_edge.status_report import StatusReport
from saccade_edge.uplink import Connected, Uplink, UplinkEvent, UplinkSettings
from saccade_edge.uplink.uplink_events import Refused
from saccade_edge.watch_budget import WatchBudget, usual_policy
from saccade_edge.watch_events import Event, FrameAnswered, FrameSent, FrameSpooled

CAMERA = "camera"
CONNECT_S = 60.0
LATE_S = 2.0  # how long answers may still come once the last frame was captured
CLOSE_S = 5.0
NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Shift:
    """What the edges of one process do. ``numbers``: of all edges, from 0; ``packets``: serialised,
    more than are sent within a minute; ``questions``: each edge asks ``asked`` of them about every
    frame. ``fps`` 0: recordings, as fast as they go and without a spool; else cameras.
    """

    cloud: str
    bundle: str
    packets: tuple[bytes, ...]
    numbers: range
    questions: tuple[str, ...]
    asked: int
    fps: float
    seconds: float


@dataclass(slots=True)
class Fate:
    """Of one frame. Times in seconds since all edges of the process were connected; ``live``: it
    went to the cloud at once, not to the spool.
    """

    edge: int
    captured_s: float
    live: bool
    answered_s: list[float]


def live(shift: Shift) -> list[Fate]:
    """The whole life of a process's edges."""
    with tempfile.TemporaryDirectory(prefix="saccade-load-") as folder:
        return asyncio.run(_live(shift, Path(folder)))


async def _live(shift: Shift, folder: Path) -> list[Fate]:
    bundle = Bundle.open(shift.bundle)
    edges = [await _Edge.open(shift, bundle, number, folder) for number in shift.numbers]
    running = [asyncio.ensure_future(edge.run()) for edge in edges]
    try:
        await asyncio.wait_for(asyncio.gather(*(e.connected.wait() for e in edges)), CONNECT_S)
        began_s = time.monotonic()
        for edge in edges:
            edge.frame_thread.begin(began_s)
        await asyncio.sleep(shift.seconds + LATE_S)
        for task in running:
            if task.done():
                task.result()  # an edge that ended before its time
    finally:
        await end(*running)
        await asyncio.gather(*(edge.close() for edge in edges))
    return [edge.fate(began_s, *told) for edge in edges for told in edge.told.values()]


class _Edge:
    """``told``: when a frame was captured, whether it went at once, when its answers came."""

    def __init__(self, shift: Shift, bundle: Bundle, number: int, spool: Spool | None) -> None:
        live = shift.fps > 0
        self.number = number
        self.connected = asyncio.Event()
        self.told: dict[int, tuple[float, bool, list[float]]] = {}
        turn = number % len(shift.questions)
        asked = (shift.questions[turn:] + shift.questions[:turn])[: shift.asked]
        self._tracker = FrameTracker(self._show, len(asked))
        self._spool = spool
        interval_s = 1 / shift.fps if live else BudgetSettings().interval_s
        budget = BudgetSettings(usual_policy(live=False, point=None), interval_s=interval_s)
        self._watch_budget = WatchBudget(bundle.manifest, PipelineSettings(), CAMERA, budget)
        settings = UplinkSettings(shift.cloud, f"edge-{number}", (CAMERA,), live=live)
        self._uplink = Uplink(settings, bundle, self._hear, spool)
        self.frame_thread = _Premade(shift, number, self._uplink, spool)
        self._frame_loop = FrameLoop(
            self.frame_thread,
            self._uplink,
            self._watch_budget,
            self._tracker,
            tuple(map(asking, asked)),
            waits=not live,
            spooled=spool is not None,
        )
        status_report = StatusReport({})
        self._periodic_tasks = PeriodicTasks(
            self._uplink, self._watch_budget, self._tracker, status_report, spool
        )

    @classmethod
    async def open(cls, shift: Shift, bundle: Bundle, number: int, folder: Path) -> _Edge:
        spool = None
        if shift.fps:
            kept = SpoolSettings(folder / f"{number}.spool", reserve_bytes=0)
            device = f"edge-{number}"
            spool = await asyncio.to_thread(Spool.open, kept, device, bundle.token_digest, CAMERA)
        return cls(shift, bundle, number, spool)

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._uplink.run(), self._periodic_tasks.run(), self._frame_loop.run())

    async def close(self) -> None:
        self._uplink.abandon()
        if self._spool is not None:
            await self._spool.close()

    def fate(self, began_s: float, captured_s: float, live: bool, answered_s: list[float]) -> Fate:
        since = [at_s - began_s for at_s in answered_s]
        return Fate(self.number, captured_s - began_s, live, since)

    def _hear(self, event: UplinkEvent | SpoolEvent) -> None:
        if isinstance(event, Connected):
            self.connected.set()
        self._watch_budget.on_event(event)
        self._tracker.on_event(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, (FrameSent, FrameSpooled)):
            frame, decision = event.result.frame, event.decision
            at_once = decision is None or decision.live or decision.held
            self.told.setdefault(frame.sequence, (frame.captured_ns / 1e9, at_once, []))
        elif isinstance(event, FrameAnswered) and event.answer.sequence in self.told:
            self.told[event.answer.sequence][2].append(time.monotonic())
        elif isinstance(event, Refused) and self._answers(event):
            self.told[event.sequence][2].append(time.monotonic())

    def _answers(self, refused: Refused) -> bool:
        """That the frame does not show what a question is about is an answer to it."""
        return isinstance(refused.error, NotInFrame) and refused.sequence in self.told


class _Premade(FrameThread):
    """Frames whose ``captured_ns`` is of the monotonic clock, without a picture."""

    def __init__(self, shift: Shift, number: int, uplink: Uplink, spool: Spool | None) -> None:
        self._shift = shift
        self._uplink = uplink
        own: Callable[[], int] = itertools.count(1).__next__
        self._sequence = spool.next_sequence if spool else own
        # Cameras are not in step; the same phases in every run.
        self._phase = random.Random(number).random()
        self._packets = itertools.islice(
            itertools.cycle(shift.packets), number * len(shift.packets) // 97, None
        )
        self._began_s: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._turn = 0

    def begin(self, at_s: float) -> None:
        self._began_s.set_result(at_s)

    async def next(self) -> TakenFrame | None:
        at_s = await self._began_s
        if self._shift.fps:
            at_s += (self._turn + self._phase) / self._shift.fps
            await asyncio.sleep(at_s - time.monotonic())
        else:
            at_s = time.monotonic()
        self._turn += 1
        return TakenFrame(Frame(NO_PICTURE, round(at_s * 1e9), CAMERA, self._sequence()), at_s)

    async def process(self, frame: Frame, plan: Plan | None) -> FrameResult:
        packet = tokens_pb2.FramePacket.FromString(next(self._packets))
        age_s = time.monotonic() - frame.captured_ns / 1e9
        captured_ms = round((time.time() - age_s) * 1e3)
        packet.sequence = frame.sequence
        packet.captured_ms = captured_ms - self._uplink.identity.epoch_unix_ms
        return FrameResult(frame, Verdict("key", "first", 0.0), Timing({}), packet=packet)
