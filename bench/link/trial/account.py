"""What an edge's records say of every captured frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.link.trial.fates import FrameFate


class Account:
    """Of ``frames`` frames, one every ``interval_s`` from ``begin_unix_s`` on. It hears what
    `bench.link.trial.edge` prints, in its order.

    ``waiting``, ``lost``: packets, by the spool's last word; ``replaced``: frames that nobody took,
    by the source's.
    """

    def __init__(self, frames: int, interval_s: float, begin_unix_s: float) -> None:
        self.frames = [FrameFate(number * interval_s) for number in range(frames)]
        self.waiting = self.lost = self.replaced = 0
        self._interval_s = interval_s
        self._begin_unix_s = begin_unix_s
        self._by_sequence: dict[int, FrameFate] = {}

    def hear(self, record: Mapping[str, Any]) -> None:
        """Events that say nothing of a frame's fate are passed over."""
        match record["event"]:
            case "FrameTaken":
                self._took(record)
            case "FirstToken":
                seen = self._by_sequence[record["sequence"]]
                seen.first_token_s = min(seen.first_token_s, self._since_s(record["at_ns"]))
            case "FrameAnswered":
                self._by_sequence[record["sequence"]].stages_ms = record["stages_ms"]
            case "Refused":
                self._by_sequence[record["sequence"]].refused = True
            case "Summary":
                spool = record["spool"]
                self.waiting, self.lost = spool["packets"], spool["lost"]
            case "Source":
                self.replaced = record["replaced"]

    def failure(self) -> str:
        """Why it does not add up, at the end; empty where it does."""
        not_taken = sum(not frame.taken for frame in self.frames)
        if not_taken == self.replaced:
            return ""
        return f"{not_taken} frames were never heard of, the source replaced {self.replaced}"

    def _took(self, record: Mapping[str, Any]) -> None:
        seen = self.frames[round(self._since_s(record["captured_ns"]) / self._interval_s)]
        seen.taken, seen.sequence = True, record["sequence"]
        seen.live, seen.point = record["live"], record["point"]
        seen.packet_bytes = record["packet_bytes"]
        self._by_sequence[seen.sequence] = seen

    def _since_s(self, unix_ns: int) -> float:
        """Seconds from the first capture."""
        return unix_ns / 1e9 - self._begin_unix_s
