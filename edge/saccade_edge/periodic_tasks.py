"""Beside a watch: what the spool may have of the link, the day's count, the status file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from pathlib import Path

from saccade_edge.frame_tracker import FrameTracker
from saccade_edge.spool import Spool
from saccade_edge.status_file import WRITE_S, StatusFile
from saccade_edge.status_report import StatusReport
from saccade_edge.uplink import Uplink
from saccade_edge.watch_budget import WatchBudget

# How often the spool hears how much of the link it may have.
PACE_S = 0.1


class PeriodicTasks:
    """``run`` until cancelled, then ``close``. ``status``: the files that say how it stands."""

    def __init__(
        self,
        uplink: Uplink,
        watch_budget: WatchBudget,
        tracker: FrameTracker,
        status_report: StatusReport,
        spool: Spool | None,
        status: Collection[Path] = (),
    ) -> None:
        self._uplink = uplink
        self._watch_budget = watch_budget
        self._tracker = tracker
        self._status_report = status_report
        self._spool = spool
        self._files = [StatusFile(path) for path in status]
        self._spent = f"spent {watch_budget.camera}"  # of the spool's notes
        if spool is not None:
            watch_budget.resume(spool.noted(self._spent))

    async def run(self) -> None:
        """For ever."""
        told_s = 0.0
        while True:
            self._uplink.pace_backlog(self._watch_budget.backlog_bytes_per_s())
            if time.monotonic() >= told_s + WRITE_S:
                told_s = time.monotonic()
                self._tell(running=True)
            await asyncio.sleep(PACE_S)

    async def close(self) -> None:
        """Say that it has ended."""
        self._tell(running=False)
        for file in self._files:
            await asyncio.to_thread(file.close)

    def _tell(self, *, running: bool) -> None:
        if self._spool is not None:
            self._spool.note(self._spent, self._watch_budget.spent())
        if self._files:
            report = self._spool.report() if self._spool else None
            summary = self._tracker.summary(complete=False, spool=report)
            record = self._status_report.record(
                self._watch_budget,
                self._uplink.state,
                summary,
                running=running,
                last_frame_unix_ms=self._tracker.last_frame_unix_ms,
            )
            for file in self._files:
                file.write(record)
