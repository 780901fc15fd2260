"""The edge's loop: frames from a source, through the pipeline, up to the cloud, answers back.

Without a spool, when the cloud or the link is slow, the loop waits before it takes the next frame:
a camera then gives its newest, a file waits. With one only a file waits: a camera's frames go to
the spool.

A program that watches something else, or decides otherwise, gives `Watch` or `run` its own
`WatchParts`.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from threadpoolctl import threadpool_limits

from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade.question_rules import QuestionRules
from saccade.redaction import redact
from saccade.tasks import end, ending_signals, first_done
from saccade.text import check_name, host_name
from saccade.tls import ClientTls
from saccade.turns import Question, as_question
from saccade_edge.budget import BudgetSettings, Policy
from saccade_edge.frame_loop import FrameLoop
from saccade_edge.frame_thread import FrameThread
from saccade_edge.frame_tracker import FrameTracker
from saccade_edge.gate import GateSettings
from saccade_edge.periodic_tasks import PeriodicTasks
from saccade_edge.plan import PipelineSettings
from saccade_edge.source import Source, open_source
from saccade_edge.spool import Spool, SpoolEvent, SpoolFault, SpoolSettings, SpoolTroubled
from saccade_edge.status_file import check_status
from saccade_edge.status_report import StatusReport
from saccade_edge.uplink import Outstanding, Uplink, UplinkEvent, UplinkSettings
from saccade_edge.watch_budget import WatchBudget, usual_policy
from saccade_edge.watch_events import Event, Summary
from saccade_edge.watch_parts import DEFAULT_PARTS, WatchParts

# How long a recording's owner waits for a cloud that is not there; cameras wait for ever.
FILE_PATIENCE_S = 30.0
# After a stop: answers that are under way may still come.
STOP_DRAIN_S = 5.0
# An answer about the street of two seconds ago is still about the street.
DEADLINE_S = 2.0


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """``patience_s``: give up after so long without a cloud; None: 30 s for files, never for
    cameras. ``drain_s``: how long the last answers may take once a file has ended.

    ``spool``: where packets are kept until the cloud has stored them; None: in memory alone.
    ``deadline_s``: with a spool, how old a camera's frame may be to go as a live one.

    ``budget``: None: ``robust`` for cameras, the fixed point for recordings, where the pipeline's
    settings leave a choice; ``policy``: one of your own in the place of the one it names.

    ``status``: a file that says once a second how the watch stands; None: no file does.
    ``listed``: a second one, in the folder whose files ``saccade edge status`` lists.
    """

    source: str = field(repr=False)  # may hold a camera's password
    cloud: str
    questions: tuple[Question | str, ...] = ()
    camera: str = "camera"
    device: str = field(default_factory=host_name)
    fps: float | None = None
    live: bool | None = None
    insecure: bool = False
    tls: ClientTls | None = None
    packet_key: bytes | None = field(default=None, repr=False)
    patience_s: float | None = None
    drain_s: float = 60.0
    spool: SpoolSettings | None = None
    deadline_s: float = DEADLINE_S
    budget: BudgetSettings | None = None
    policy: Policy | None = None
    status: Path | None = None
    listed: Path | None = None
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)


def run(
    bundle: Bundle,
    settings: WatchSettings,
    show: Callable[[Event], None],
    parts: WatchParts = DEFAULT_PARTS,
) -> Summary:
    """Watch until the source ends; SIGINT, SIGTERM or SIGHUP ends it early, a second at once."""
    # Coding a frame multiplies small matrices: on a box with other work, BLAS threads that wait for
    # each other take twenty times as long as one.
    with threadpool_limits(1, "blas"):
        return asyncio.run(_run_until_signal(bundle, settings, show, parts))


async def _run_until_signal(
    bundle: Bundle, settings: WatchSettings, show: Callable[[Event], None], parts: WatchParts
) -> Summary:
    watch = Watch(bundle, settings, show, parts)
    loop = asyncio.get_running_loop()
    ending = ending_signals()
    for number in ending:
        loop.add_signal_handler(number, watch.stop)
    try:
        return await watch.run()
    finally:
        for number in ending:
            loop.remove_signal_handler(number)


class Watch:
    """One source, one cloud. ``run`` once; ``show`` hears every event in the event loop."""

    def __init__(
        self,
        bundle: Bundle,
        settings: WatchSettings,
        show: Callable[[Event], None],
        parts: WatchParts = DEFAULT_PARTS,
    ) -> None:
        """Raises ``ConfigError`` or ``LimitExceeded`` for unusable names, ``QuestionError``."""
        for name in (settings.device, settings.camera):
            check_name(name, ConfigError)
        rules = QuestionRules.of(bundle.manifest)
        self._questions = tuple(map(as_question, settings.questions))
        for question in self._questions:
            rules.check(question)
        self._bundle = bundle
        self._settings = settings
        self._show = show
        self._parts = parts
        self._tracker = FrameTracker(show, len(settings.questions), bundle.manifest.domain)
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self._settled = False
        self._outstanding = Outstanding()

    def stop(self) -> None:
        """Take no more frames and finish; a second call does not wait for the last answers."""
        (self._hurried if self._stopped.is_set() else self._stopped).set()

    async def run(self) -> Summary:
        """Until the source ends or ``stop``.

        Raises ``SourceError``, ``FramesFailed``, ``ConfigError``, ``BundleError``, or what the
        uplink raises; by then source, thread and connection are closed, and where frames came, the
        summary was shown.
        """
        for path in (self._settings.status, self._settings.listed):
            with suppress(OSError):  # a disk in trouble is told of when it is written
                if path is not None:
                    check_status(path)
        with self._open_source() as source:
            spool = await self._open_spool()
            served = False
            try:
                await self._serve(source, spool)
                served = True
            finally:
                if spool is not None:
                    await spool.close()
                summary = self._summed_up(spool, served)
        return summary

    def _summed_up(self, spool: Spool | None, served: bool) -> Summary:
        self._tracker.ended(spooled=spool is not None)
        report = spool.report() if spool else None
        # Not before the spool is closed: it writes down only then what was settled last.
        waiting = report.packets - report.other_bundle if report else 0
        complete = self._settled and waiting == 0
        summary = self._tracker.summary(
            complete=complete, spool=report, outstanding=self._outstanding
        )
        if self._tracker.frames or served:
            self._show(summary)
        return summary

    def _open_source(self) -> Source:
        if self._parts.source is not None:
            return self._parts.source()
        settings = self._settings
        return open_source(settings.source, settings.camera, live=settings.live, fps=settings.fps)

    async def _open_spool(self) -> Spool | None:
        """None also where the disk is out of order: the watch goes on without it, and says so."""
        settings = self._settings
        if settings.spool is None:
            return None
        try:
            return await asyncio.to_thread(
                Spool.open,
                settings.spool,
                settings.device,
                self._bundle.token_digest,
                settings.camera,
            )
        except SpoolFault as fault:
            self._tracker.on_event(
                SpoolTroubled(fault.fate, f"{fault.detail}; this run has no spool")
            )
            return None

    async def _serve(self, source: Source, spool: Spool | None) -> None:
        """Watch ``source``, and note what the cloud settled."""
        settings = self._settings
        watch_budget = self._allowed(source.live)
        status_report = StatusReport(_about(settings), lambda: source.camera_state)

        def on_event(event: UplinkEvent | SpoolEvent) -> None:
            watch_budget.on_event(event)
            status_report.on_event(event)
            self._tracker.on_event(event)

        uplink = Uplink(self._uplink_settings(source.live), self._bundle, on_event, spool)
        try:
            identity = uplink.identity
            stages = replace(
                settings.pipeline,
                gate=settings.pipeline.gate if source.gated else GateSettings(threshold=0),
                epoch_unix_ms=identity.epoch_unix_ms,
                camera_index=identity.cameras.index(settings.camera),
            )
            pipeline = self._parts.pipeline(self._bundle, stages)
            frame_thread = FrameThread(source, pipeline, spool.next_sequence if spool else None)
            frame_loop = FrameLoop(
                frame_thread,
                uplink,
                watch_budget,
                self._tracker,
                self._questions,
                waits=not source.live,
                spooled=spool is not None,
            )
            told = {path for path in (settings.status, settings.listed) if path is not None}
            periodic_tasks = PeriodicTasks(
                uplink, watch_budget, self._tracker, status_report, spool, told
            )
            try:
                await self._watch(frame_loop, uplink, periodic_tasks)
            finally:
                await frame_thread.close()
                await periodic_tasks.close()
        finally:
            self._settled, self._outstanding = uplink.settled, uplink.outstanding
            uplink.abandon()

    async def _watch(
        self, frame_loop: FrameLoop, uplink: Uplink, periodic_tasks: PeriodicTasks
    ) -> None:
        """Take frames, then finish, while the uplink talks."""
        talking = asyncio.ensure_future(uplink.run())
        feeding = asyncio.ensure_future(frame_loop.run())
        minding = asyncio.ensure_future(periodic_tasks.run())
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await first_done(talking, feeding, stopping, minding)
            for task in (talking, minding):
                if task.done():
                    task.result()
            await end(stopping, *() if feeding.done() else (feeding,))
            await self._finish(uplink, talking)
            if not feeding.cancelled():
                feeding.result()  # a source that broke off says so once all else is settled
        finally:
            await end(talking, feeding, stopping, minding)

    async def _finish(self, uplink: Uplink, talking: asyncio.Future[None]) -> None:
        stopped = self._stopped.is_set()
        drain_s = STOP_DRAIN_S if stopped else self._settings.drain_s
        finishing = asyncio.ensure_future(uplink.finish(drain_s, retire=stopped))
        hurrying = asyncio.ensure_future(self._hurried.wait())
        try:
            await first_done(finishing, talking, hurrying)
            if finishing.done():
                await first_done(talking, hurrying)
            if talking.done():
                talking.result()
        finally:
            await end(finishing, hurrying)

    def _allowed(self, live: bool) -> WatchBudget:
        settings = self._settings
        asked = (
            settings.budget is not None or self._parts.controller is not DEFAULT_PARTS.controller
        )
        point = settings.pipeline.encode.point
        budget = settings.budget or BudgetSettings(
            usual_policy(live=live, point=point),
            point,
            settings.deadline_s,
            interval_s=1 / settings.fps if settings.fps else BudgetSettings().interval_s,
        )
        return WatchBudget(
            self._bundle.manifest,
            settings.pipeline,
            settings.camera,
            budget,
            asked=asked,
            policy=settings.policy,
            make=self._parts.controller,
        )

    def _uplink_settings(self, live: bool) -> UplinkSettings:
        settings = self._settings
        patience_s = settings.patience_s
        if patience_s is None:
            patience_s = math.inf if live else FILE_PATIENCE_S
        return UplinkSettings(
            cloud=settings.cloud,
            device=settings.device,
            cameras=(settings.camera,),
            insecure=settings.insecure,
            tls=settings.tls,
            packet_key=settings.packet_key,
            patience_s=patience_s,
            live=live,
            deadline_s=settings.deadline_s,
        )


def _about(settings: WatchSettings) -> dict[str, str]:
    """For the status file, which others may read."""
    return {
        "device": settings.device,
        "camera": settings.camera,
        "source": redact(settings.source),
        "cloud": settings.cloud,
    }
