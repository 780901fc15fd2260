"""From the frames' thread to the uplink, each frame as its budget says.

A recording waits until a frame may go. A camera's frame goes to the spool where it may not go now,
and on from there at once if the link is back before it is late; without a spool, or once the day's
bytes are used up, it is withheld, and counted.

A frame that cannot be read, looked at or handed over is told as failed, and the next one comes; ten
in a row end the watch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from saccade.errors import LimitExceeded, QuestionError, SaccadeError
from saccade.turns import Question
from saccade.types import Frame
from saccade_edge.budget import Decision
from saccade_edge.frame_failures import Failures
from saccade_edge.frame_thread import FrameThread, TakenFrame
from saccade_edge.frame_tracker import FrameTracker
from saccade_edge.pipeline import FrameResult
from saccade_edge.source import FrameError
from saccade_edge.uplink import Uplink
from saccade_edge.watch_budget import PlannedFrame, WatchBudget

log = logging.getLogger(__name__)

# A recording that waits asks so often.
AGAIN_S = 0.1


class FrameLoop:
    """``run`` once. ``waits``: the source is a recording; ``spooled``: there is a spool."""

    def __init__(
        self,
        frame_thread: FrameThread,
        uplink: Uplink,
        watch_budget: WatchBudget,
        tracker: FrameTracker,
        questions: Sequence[Question],
        *,
        waits: bool,
        spooled: bool,
    ) -> None:
        self._frame_thread = frame_thread
        self._uplink = uplink
        self._watch_budget = watch_budget
        self._tracker = tracker
        self._questions = questions
        self._waits = waits
        self._spooled = spooled
        self._failures = Failures()

    async def run(self) -> None:
        """Until the source ends. Raises what ends the source, and ``FramesFailed``."""
        while True:
            await self._uplink.room(len(self._questions))
            try:
                taken = await self._frame_thread.next()
            except FrameError as error:
                self._tracker.unread(error.sequence, error.name, error)
                self._failures.failed(error)
                continue
            if taken is None:
                self._failures.ended()
                return
            planned = await self._plan_frame()
            if planned.decision is not None and self._withholds(planned.decision):
                self._tracker.withheld(taken.frame, planned.decision)
            else:
                await self._send(taken, planned)

    async def _plan_frame(self) -> PlannedFrame:
        """Decided once the frame is there: what the link has shown meanwhile counts."""
        planned = self._watch_budget.plan_frame()
        while self._waits and planned.decision is not None and _passes(planned.decision):
            await asyncio.sleep(AGAIN_S)
            planned = self._watch_budget.plan_frame(again=True)
        return planned

    def _withholds(self, decision: Decision) -> bool:
        return not decision.live and (decision.bound == "cap" or not self._spooled)

    async def _send(self, taken: TakenFrame, planned: PlannedFrame) -> None:
        decision = planned.decision
        result = await self._process(taken.frame, planned)
        if result is None:
            return
        if result.packet is None:
            self._tracker.skipped(result)
            self._failures.passed()
            return
        self._tracker.sending(result, result.packet.ByteSize(), taken.since_s, decision)
        held = decision is not None and decision.held
        live = decision is None or decision.live or held
        point = decision.number if decision is not None else None
        try:
            await self._uplink.send(
                result.packet, self._questions, live=live, held=held, point=point
            )
        except (LimitExceeded, QuestionError) as error:
            self._failed(taken.frame, "send", error)
        else:
            self._failures.passed()

    async def _process(self, frame: Frame, planned: PlannedFrame) -> FrameResult | None:
        """None where it failed."""
        try:
            return await self._frame_thread.process(frame, planned.plan)
        except SaccadeError as error:
            self._failed(frame, self._frame_thread.stage, error)
        except Exception as error:
            # A defect of ours, or of a part that a program brought. It concerns this frame.
            log.exception(
                "frame %d: unexpected error in %s", frame.sequence, self._frame_thread.stage
            )
            self._failed(
                frame, self._frame_thread.stage, SaccadeError(f"{type(error).__name__}: {error}")
            )
        return None

    def _failed(self, frame: Frame, stage: str, error: SaccadeError) -> None:
        self._tracker.failed(frame, stage, error)
        self._failures.failed(error)


def _passes(decision: Decision) -> bool:
    """Whether what keeps the frame back is over soon, as the end of the day is not."""
    return not decision.live and decision.bound != "cap"
