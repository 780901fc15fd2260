"""From the feed to the uplink, each frame as its budget says.

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
        feed: FrameThread,
        uplink: Uplink,
        allowance: WatchBudget,
        ledger: FrameTracker,
        questions: Sequence[Question],
        *,
        waits: bool,
        spooled: bool,
    ) -> None:
        self._feed = feed
        self._uplink = uplink
        self._allowance = allowance
        self._ledger = ledger
        self._questions = questions
        self._waits = waits
        self._spooled = spooled
        self._failures = Failures()

    async def run(self) -> None:
        """Until the source ends. Raises what ends the source, and ``FramesFailed``."""
        while True:
            await self._uplink.room(len(self._questions))
            try:
                taken = await self._feed.next()
            except FrameError as error:
                self._ledger.unread(error.sequence, error.name, error)
                self._failures.failed(error)
                continue
            if taken is None:
                self._failures.ended()
                return
            terms = await self._terms()
            if terms.decision is not None and self._withholds(terms.decision):
                self._ledger.withheld(taken.frame, terms.decision)
            else:
                await self._send(taken, terms)

    async def _terms(self) -> PlannedFrame:
        """Decided once the frame is there: what the link has shown meanwhile counts."""
        terms = self._allowance.terms()
        while self._waits and terms.decision is not None and _passes(terms.decision):
            await asyncio.sleep(AGAIN_S)
            terms = self._allowance.terms(again=True)
        return terms

    def _withholds(self, decision: Decision) -> bool:
        return not decision.live and (decision.bound == "cap" or not self._spooled)

    async def _send(self, taken: TakenFrame, terms: PlannedFrame) -> None:
        decision = terms.decision
        result = await self._process(taken.frame, terms)
        if result is None:
            return
        if result.packet is None:
            self._ledger.skipped(result)
            self._failures.passed()
            return
        self._ledger.sending(result, result.packet.ByteSize(), taken.since_s, decision)
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

    async def _process(self, frame: Frame, terms: PlannedFrame) -> FrameResult | None:
        """None where it failed."""
        try:
            return await self._feed.process(frame, terms.plan)
        except SaccadeError as error:
            self._failed(frame, self._feed.stage, error)
        except Exception as error:
            # A defect of ours, or of a part that a program brought. It concerns this frame.
            log.exception("frame %d: unexpected error in %s", frame.sequence, self._feed.stage)
            self._failed(frame, self._feed.stage, SaccadeError(f"{type(error).__name__}: {error}"))
        return None

    def _failed(self, frame: Frame, stage: str, error: SaccadeError) -> None:
        self._ledger.failed(frame, stage, error)
        self._failures.failed(error)


def _passes(decision: Decision) -> bool:
    """Whether what keeps the frame back is over soon, as the end of the day is not."""
    return not decision.live and decision.bound != "cap"
