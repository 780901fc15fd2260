"""Beside a watch: what the spool may have of the link, the day's count, the status file."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from saccade_edge.allowance import Allowance
from saccade_edge.ledger import Ledger
from saccade_edge.spool import Spool
from saccade_edge.standing import Standing
from saccade_edge.status import WRITE_S, StatusFile
from saccade_edge.uplink import Uplink

# How often the spool hears how much of the link it may have.
PACE_S = 0.1


class Tending:
    """``run`` until cancelled, then ``close``. ``status``: None: nobody is told."""

    def __init__(
        self,
        uplink: Uplink,
        allowance: Allowance,
        ledger: Ledger,
        standing: Standing,
        spool: Spool | None,
        status: Path | None,
    ) -> None:
        self._uplink = uplink
        self._allowance = allowance
        self._ledger = ledger
        self._standing = standing
        self._spool = spool
        self._status = StatusFile(status) if status else None
        self._spent = f"spent {allowance.camera}"  # of the spool's notes
        if spool is not None:
            allowance.resume(spool.noted(self._spent))

    async def run(self) -> None:
        """For ever."""
        told_s = 0.0
        while True:
            self._uplink.pace_backlog(self._allowance.backlog_bytes_per_s())
            if time.monotonic() >= told_s + WRITE_S:
                told_s = time.monotonic()
                self._tell(running=True)
            await asyncio.sleep(PACE_S)

    async def close(self) -> None:
        """Say that it has ended."""
        self._tell(running=False)
        if self._status is not None:
            await asyncio.to_thread(self._status.close)

    def _tell(self, *, running: bool) -> None:
        if self._spool is not None:
            self._spool.note(self._spent, self._allowance.spent())
        if self._status is not None:
            report = self._spool.report() if self._spool else None
            summary = self._ledger.summary(complete=False, spool=report)
            link = self._uplink.state
            self._status.write(
                self._standing.record(self._allowance, link, summary, running=running)
            )
