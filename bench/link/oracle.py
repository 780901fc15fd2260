"""The budget that knows the future: what no policy can beat by much.

For each frame it tries every point, best first: it plays the next frames through the link, all at
that point, and takes the point whose frames on time agree most. A frame that would be late is left
to the spool, so that it takes nothing from the next. It is no exact optimum, which would take every
combination, but it errs only while a queue is being worked off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from saccade.manifest import OperatingPoint
from saccade_edge.budget import Decision

AHEAD = 40  # frames


class Oracle:
    """``bytes_by(seconds)``: what the link could have delivered by then; ``delay_s``: one way, on
    top; ``wire_bytes(frame, number)``: what a frame costs at a point, headers included. Frames are
    counted from 0, one for each decision.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        bytes_by: Callable[[float], float],
        wire_bytes: Callable[[int, int], float],
        *,
        frames: int,
        interval_s: float,
        deadline_s: float,
        delay_s: float,
    ) -> None:
        self._points = points
        self._bytes_by = bytes_by
        self._wire_bytes = wire_bytes
        self._frames = frames
        self._interval_s = interval_s
        self._within_s = deadline_s - delay_s
        self._next = 0
        self._position = 0.0  # in the link's bytes: up to here it is taken

    def decide(self, now_s: float, unix_s: float, camera: str) -> Decision:
        """``live`` is false where the frame would be late at any point."""
        frame = self._next
        self._next += 1
        fits = [n for n in range(len(self._points)) if self._on_time(frame, n, now_s)]
        if not fits:
            return self._decision(False, camera, 0, "to the spool: it would be late")
        number = max(fits, key=lambda n: (self._worth(frame, n, now_s), n))
        self._position = self._after(frame, number, now_s)
        return self._decision(True, camera, number, f"point {number}: what comes is known")

    def sent(
        self, sequence: int, packet_bytes: int, now_s: float, *, camera: str, number: int | None
    ) -> None:
        """It knows."""

    def acknowledged(self, sequence: int, received_unix_ms: int, now_s: float) -> None:
        """It knows."""

    def _after(self, frame: int, number: int, now_s: float) -> float:
        return max(self._bytes_by(now_s), self._position) + self._wire_bytes(frame, number)

    def _on_time(self, frame: int, number: int, now_s: float) -> bool:
        return self._after(frame, number, now_s) <= self._bytes_by(now_s + self._within_s)

    def _worth(self, frame: int, number: int, now_s: float) -> float:
        """Agreement of the frames from here on that are on time, all at this point, less the
        best they could have: comparable however far the look goes.
        """
        position, lost = self._position, 0.0
        for ahead in range(min(AHEAD, self._frames - frame)):
            at_s = now_s + ahead * self._interval_s
            free = self._bytes_by(at_s)
            if ahead and position <= free:
                break  # the link is idle: what comes does not depend on this frame
            after = max(free, position) + self._wire_bytes(frame + ahead, number)
            if after <= self._bytes_by(at_s + self._within_s):
                position = after
                lost += self._points[-1].agreement - self._points[number].agreement
            else:
                lost += self._points[-1].agreement
        return -lost

    def _decision(self, live: bool, camera: str, number: int, reason: str) -> Decision:
        return Decision(
            live=live,
            camera=camera,
            number=number,
            point=self._points[number],
            bound="best" if number == len(self._points) - 1 else "link",
            reason=reason,
            policy="oracle",
        )
