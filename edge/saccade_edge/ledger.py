"""Counting and timing of one watch: from the uplink's events to the answers that users read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from saccade.errors import NotInFrame
from saccade.nouns import Answer, Frame, Timing
from saccade.replies import mean_and_least
from saccade_edge.budget import Decision
from saccade_edge.events import (
    Event,
    FrameAnswered,
    FrameSent,
    FrameSkipped,
    FrameWithheld,
    Summary,
)
from saccade_edge.pipeline import Look
from saccade_edge.spool import SpoolEvent, SpoolReport
from saccade_edge.uplink.events import Answered, Refused, UplinkEvent

# Frames whose answers are awaited here; questions about older ones are answered all the same,
# without the edge's part of the time. A day without a link must not fill the memory.
MOST_ASKED = 1024


@dataclass
class _Asked:
    """A frame that questions are open about."""

    timing: Timing
    taken_s: float  # monotonic time at which the frame came from its source
    open: int
    decision: Decision | None


class Ledger:
    """``show`` gets every event once, in order."""

    def __init__(self, show: Callable[[Event], None], questions: int, domain: str = "") -> None:
        self._show = show
        self._questions = questions
        self._domain = domain
        self._asked: dict[int, _Asked] = {}
        self._frames = self._sent = self._answers = self._refused = self._bytes = 0
        self._not_in_frame = 0
        self._withheld: Counter[str] = Counter()

    def skipped(self, look: Look) -> None:
        self._frames += 1
        self._show(FrameSkipped(look))

    def withheld(self, frame: Frame, decision: Decision) -> None:
        """The budget kept a frame back, for good."""
        self._frames += 1
        self._withheld[decision.bound] += 1
        self._show(FrameWithheld(frame, decision))

    def sending(
        self, look: Look, packet_bytes: int, taken_s: float, decision: Decision | None
    ) -> None:
        """Before the packet is handed over: its answer may come at once."""
        self._frames += 1
        self._sent += 1
        self._bytes += packet_bytes
        if self._questions:
            asked = _Asked(look.timing, taken_s, self._questions, decision)
            self._asked[look.frame.sequence] = asked
            if len(self._asked) > MOST_ASKED:
                del self._asked[next(iter(self._asked))]
        self._show(FrameSent(look, packet_bytes, decision))

    def heard(self, event: UplinkEvent | SpoolEvent) -> None:
        """What the uplink and its spool tell."""
        self._show(event)
        if isinstance(event, Refused):
            self._refused += 1
            self._not_in_frame += isinstance(event.error, NotInFrame)
            if event.question:
                self._close(event.sequence)
        elif isinstance(event, Answered):
            self._answers += 1
            answer = _answer(event, self._close(event.sequence), self._domain)
            self._show(FrameAnswered(event.question, answer))

    def summary(self, *, complete: bool, spool: SpoolReport | None) -> Summary:
        """What it came to."""
        return Summary(
            self._frames,
            self._sent,
            self._answers,
            self._refused,
            self._bytes,
            complete,
            spool,
            dict(self._withheld),
            self._not_in_frame,
        )

    def _close(self, sequence: int) -> _Asked | None:
        """One question less is open about a frame; the last one forgets its picture."""
        asked = self._asked.get(sequence)
        if asked is not None:
            asked.open -= 1
            if asked.open == 0:
                del self._asked[sequence]
        return asked


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
