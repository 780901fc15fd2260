"""Counting and timing of one watch: from the uplink's events to the answers that users read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from saccade.answer_probability import mean_and_least
from saccade.errors import NotInFrame, SaccadeError
from saccade.types import Answer, Frame, Timing
from saccade_edge.budget import Decision
from saccade_edge.budget.reasons import CONNECTION
from saccade_edge.pipeline import FrameResult
from saccade_edge.spool import SpoolEvent, SpoolReport
from saccade_edge.uplink import Outstanding
from saccade_edge.uplink.uplink_events import (
    Acknowledged,
    Answered,
    PacketDeferred,
    PacketSent,
    Refused,
    UplinkEvent,
)
from saccade_edge.watch_events import (
    Event,
    FrameAnswered,
    FrameFailed,
    FrameSent,
    FrameSkipped,
    FrameSpooled,
    FrameWithheld,
    LateFrameSent,
    Summary,
)

T = TypeVar("T")

# Frames whose answers are awaited here; questions about older ones are answered all the same,
# without the edge's part of the time. A day without a link must not fill the memory.
MOST_ASKED = 1024
# Packets of which it is known that they were sent: they may be sent again and count once.
MOST_SENT = 4096
LATE = "to the spool: it was not sent within the deadline"
UNKEPT = "in memory until it is sent: the spool takes nothing now"
ENDED = "to the spool: the watch ended before it was sent"


@dataclass
class _Asked:
    """A frame that questions are open about."""

    timing: Timing
    taken_s: float  # monotonic time at which the frame came from its source
    open: int
    decision: Decision | None


@dataclass
class _Waiting:
    """A frame that was looked at, and has not gone to the cloud. ``spooled``: that was told."""

    result: FrameResult
    packet_bytes: int
    decision: Decision | None
    spooled: bool = False


class FrameTracker:
    """``show`` gets every event once, in order."""

    def __init__(self, show: Callable[[Event], None], questions: int, domain: str = "") -> None:
        self._show = show
        self._questions = questions
        self._domain = domain
        self._asked: dict[int, _Asked] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._names: dict[int, str] = {}
        self._sent_live: dict[int, bool] = {}  # packets that were sent: whether in time
        self._counts: Counter[str] = Counter()
        self._withheld: Counter[str] = Counter()
        self.last_frame_unix_ms: int | None = None  # when the newest frame was captured

    @property
    def frames(self) -> int:
        """How many the source gave."""
        return self._counts["frames"]

    def skipped(self, result: FrameResult) -> None:
        self._took(result.frame)
        self._show(FrameSkipped(result))

    def withheld(self, frame: Frame, decision: Decision) -> None:
        """The budget kept a frame back, for good."""
        self._took(frame)
        self._withheld[decision.bound] += 1
        self._show(FrameWithheld(frame, decision))

    def unread(self, sequence: int, name: str, error: SaccadeError) -> None:
        """The source could not give a frame."""
        self._counts.update(frames=1, failed=1)
        self._show(FrameFailed(sequence, name, "source", error))

    def failed(self, frame: Frame, stage: str, error: SaccadeError) -> None:
        """A frame could not be looked at or, after ``sending``, not be handed over."""
        if self._waiting.pop(frame.sequence, None) is None:
            self._took(frame)
        self._asked.pop(frame.sequence, None)
        self._counts["failed"] += 1
        self._show(FrameFailed(frame.sequence, frame.name, stage, error))

    def sending(
        self, result: FrameResult, packet_bytes: int, taken_s: float, decision: Decision | None
    ) -> None:
        """Before the packet is handed over: its answer may come at once."""
        frame = result.frame
        self._took(frame)
        self._waiting[frame.sequence] = _Waiting(result, packet_bytes, decision)
        if frame.name:
            _remember(self._names, frame.sequence, frame.name, MOST_ASKED)
        if self._questions:
            asked = _Asked(result.timing, taken_s, self._questions, decision)
            _remember(self._asked, frame.sequence, asked, MOST_ASKED)

    def on_event(self, event: UplinkEvent | SpoolEvent) -> None:
        """What the uplink and its spool tell."""
        if isinstance(event, (Acknowledged, Refused)):
            event = replace(event, name=self._names.get(event.sequence, ""))
        self._show(event)
        if isinstance(event, PacketSent):
            self._said(event)
        elif isinstance(event, PacketDeferred):
            self._kept(event)
        elif isinstance(event, Refused):
            self._counts["refused"] += 1
            self._counts["not_in_frame"] += isinstance(event.error, NotInFrame)
            if event.question:
                self._close(event.sequence)
        elif isinstance(event, Answered):
            self._answered(event)

    def ended(self, *, spooled: bool) -> None:
        """No more is sent. ``spooled``: what was handed over and not sent is in the spool."""
        for sequence in [s for s, waiting in self._waiting.items() if not waiting.spooled]:
            if spooled:
                self._spool(sequence, ENDED)
            else:
                self._counts["unsent"] += 1
        self._waiting.clear()

    def summary(
        self, *, complete: bool, spool: SpoolReport | None, outstanding: Outstanding | None = None
    ) -> Summary:
        """What it came to."""
        outstanding, counts = outstanding or Outstanding(), self._counts
        return Summary(
            frames=counts["frames"],
            sent=counts["sent"],
            answers=counts["answers"],
            refused=counts["refused"],
            packet_bytes=counts["bytes"],
            complete=complete,
            spool=spool,
            withheld=dict(self._withheld),
            late=counts["late"],
            late_answers=counts["late_answers"],
            spooled=counts["spooled"],
            failed=counts["failed"],
            unsent=counts["unsent"],
            unacknowledged=outstanding.packets,
            unanswered=outstanding.questions,
            not_in_frame=counts["not_in_frame"],
        )

    def _took(self, frame: Frame) -> None:
        self._counts["frames"] += 1
        self.last_frame_unix_ms = frame.captured_ns // 1_000_000

    def _said(self, said: PacketSent) -> None:
        """A packet that goes again, after a connection was lost, was sent already."""
        if said.sequence in self._sent_live:
            return
        _remember(self._sent_live, said.sequence, said.live, MOST_SENT)
        self._counts.update(sent=1, bytes=said.packet_bytes, late=not said.live)
        waiting = self._waiting.pop(said.sequence, None)
        if said.live and waiting is not None:
            self._show(FrameSent(waiting.result, waiting.packet_bytes, waiting.decision))
        else:
            name = self._names.get(said.sequence, "")
            at_ns, size = said.captured_ns, said.size
            self._show(LateFrameSent(said.sequence, at_ns, size, said.packet_bytes, name))

    def _kept(self, kept: PacketDeferred) -> None:
        """Its packet waits; a frame that is late comes back without what was seen in it."""
        waiting = self._waiting.get(kept.sequence)
        if waiting is None:
            return
        decision = waiting.decision
        if not kept.on_disk:
            reason = UNKEPT
        elif decision is not None and not decision.live:
            reason = decision.reason
        else:
            reason = LATE if kept.late else CONNECTION
        if not waiting.spooled:
            self._spool(kept.sequence, reason)
        if kept.late:
            del self._waiting[kept.sequence]

    def _spool(self, sequence: int, reason: str) -> None:
        waiting = self._waiting[sequence]
        self._counts["spooled"] += 1
        self._show(FrameSpooled(waiting.result, waiting.packet_bytes, waiting.decision, reason))
        waiting.result, waiting.spooled = _without_picture(waiting.result), True

    def _answered(self, event: Answered) -> None:
        late = not self._sent_live.get(event.sequence, True)
        self._counts.update(answers=1, late_answers=late)
        answer = _answer(event, self._close(event.sequence), self._domain)
        name = self._names.get(event.sequence, "")
        self._show(FrameAnswered(event.question, answer, late, name))

    def _close(self, sequence: int) -> _Asked | None:
        """One question less is open about a frame; the last one forgets it."""
        asked = self._asked.get(sequence)
        if asked is not None:
            asked.open -= 1
            if asked.open == 0:
                del self._asked[sequence]
        return asked


def _remember(memory: dict[int, T], sequence: int, what: T, most: int) -> None:
    """The oldest is forgotten where there are more than ``most``."""
    memory[sequence] = what
    if len(memory) > most:
        del memory[next(iter(memory))]


def _without_picture(result: FrameResult) -> FrameResult:
    """With a black picture of the same size that takes no memory."""
    black = np.broadcast_to(np.uint8(0), result.frame.picture.shape)
    return replace(result, frame=replace(result.frame, picture=black), packet=None)


def _answer(event: Answered, asked: _Asked | None, domain: str) -> Answer:
    decision = asked.decision if asked else None
    probability, least = mean_and_least(event.probability)
    # Both by this machine's clock. Below 0 where that was set back in between, and for a recording
    # that is read faster than it was filmed: its frames are dated by their place in it.
    since_ns = time.time_ns() - event.captured_ns
    return Answer(
        text=event.text,
        sequence=event.sequence,
        camera=event.camera,
        timing=_timing(event.timing, asked) if asked else event.timing,
        bytes_sent=event.packet_bytes,
        finish=event.finish,
        point=decision.number if decision else None,
        reason=decision.reason if decision else "",
        probability=probability,
        least_probability=least,
        captured_ns=event.captured_ns,
        age_s=max(since_ns, 0) / 1e9,
        clock_ahead_s=max(-since_ns, 0) / 1e9,
        domain=domain,
    )


def _timing(cloud: Timing, asked: _Asked) -> Timing:
    """All stages, and between them what neither end accounts for."""
    passed_ms = (time.monotonic() - asked.taken_s) * 1e3
    link_ms = max(passed_ms - asked.timing.total_ms - cloud.total_ms, 0.0)
    return Timing(asked.timing.stages | {"link": link_ms} | cloud.stages)
