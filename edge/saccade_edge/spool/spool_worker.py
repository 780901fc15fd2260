"""The thread that talks to the spool's file: what waits together is committed together.

Rules:

- Jobs are done in the order in which they came, as many as wait in one transaction: one fsync for
  all of them.
- When the disk is full, each is tried alone, so that a delete that still fits does not wait for a
  packet that does not; after the second failure the others are not tried.
- A job that must be done (``required``) waits for the next transaction, at most a second: what the
  cloud has settled costs no fsync of its own. It is kept until the disk takes it; others are told
  why not.
- While the disk is in trouble it is tried once a second. Nothing waits for it.
- A file that turns out to be corrupt is moved aside, and the jobs go to a new one. So they do
  where the file was deleted or cut while in use; where its place is not free, the disk is in
  trouble until it is.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from saccade_edge.spool.spool_faults import SpoolFault, fault_of
from saccade_edge.spool.spool_file import SpoolFile
from saccade_edge.spool.spool_types import Fate

MOST_WAITING = 256  # jobs; a disk that is slower than that is stalled
AT_ONCE = 64
TICK_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """``done`` hears the result of ``work``, or the fault, in this thread. ``required``: must be
    done some time.
    """

    work: Callable[[SpoolFile], Any]
    done: Callable[[Any], None] = lambda result: None
    required: bool = False


class Worker:
    """``replace`` gives a new file for a corrupt one; ``tend`` is a job for once a second; ``told``
    hears of a fault, and None when it has passed; ``check`` raises ``FileLost`` where another
    process may write too. All are called in the worker's thread.
    """

    def __init__(
        self,
        file: SpoolFile,
        replace: Callable[[SpoolFile], SpoolFile],
        tend: Job,
        on_fault: Callable[[SpoolFault | None], None],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.file = file
        self._replace = replace
        self._tend = tend
        self._on_fault = on_fault
        self._check = check
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._required: deque[Job] = deque()
        self._fault: SpoolFault | None = None
        self._corrupt = False
        self._retry_s = 0.0
        self._tended_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="saccade-spool", daemon=True)
        self._thread.start()

    def do(self, job: Job) -> None:
        """Queue a job. One that is required waits for the next transaction; one that is not is told
        at once when the disk is too slow for it.
        """
        if job.required:
            self._required.append(job)
        elif self._jobs.qsize() < MOST_WAITING:
            self._jobs.put(job)
        else:
            job.done(SpoolFault(Fate.STALLED, f"{MOST_WAITING} writes wait for the disk"))

    def close(self, limit_s: float) -> bool:
        """Do what waits, for at most so long; whether the thread has ended."""
        self._jobs.put(None)
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        ending = False
        while not ending:
            batch, ending = self._take()
            if ending:
                self._retry_s = 0.0  # the last chance
            if ending or time.monotonic() >= self._tended_s + TICK_S:
                self._tended_s = time.monotonic()
                batch.append(self._tend)
            if batch or self._required:
                self._serve(batch)

    def _take(self) -> tuple[list[Job], bool]:
        """What waits now, and whether that is all there will be."""
        batch: list[Job] = []
        try:
            job = self._jobs.get(timeout=TICK_S)
            while job is not None:
                batch.append(job)
                if len(batch) == AT_ONCE:
                    return batch, False
                job = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _serve(self, batch: list[Job]) -> None:
        fault = self._fault
        if fault is not None and time.monotonic() < self._retry_s:
            self._fail(batch, fault)
            return
        jobs = [*self._take_owed(), *batch]
        fault = self._mend() or self._try(jobs)
        if fault is not None and self._is_gone(fault):
            self._corrupt = True
            fault = self._mend() or self._try(jobs)
        if fault is not None and fault.fate is Fate.DISK_FULL:
            fault = self._one_by_one(jobs)
        elif fault is not None:
            self._fail(jobs, fault)
        self._note(fault)

    def _is_gone(self, fault: SpoolFault) -> bool:
        """Whether only a new file can help."""
        if fault.fate is Fate.LOST:
            return self.file.is_lost and self.file.place_is_free
        return fault.fate is Fate.CORRUPT

    def _mend(self) -> SpoolFault | None:
        """A new file in a corrupt one's place; why there is none yet."""
        if not self._corrupt:
            return None
        try:
            self.file = self._replace(self.file)
        except (sqlite3.Error, OSError) as error:
            return fault_of(error)
        self._corrupt = False
        return None

    def _take_owed(self) -> list[Job]:
        required = []
        while self._required:
            required.append(self._required.popleft())
        return required

    def _try(self, jobs: list[Job]) -> SpoolFault | None:
        """All in one transaction, or none and the reason."""
        try:
            self._check()
            with self.file.transaction():
                results = [job.work(self.file) for job in jobs]
        except (sqlite3.Error, OSError) as error:
            return fault_of(error)
        for job, result in zip(jobs, results, strict=True):
            job.done(result)
        return None

    def _one_by_one(self, jobs: list[Job]) -> SpoolFault | None:
        faults: list[SpoolFault] = []
        for index, job in enumerate(jobs):
            if fault := self._try([job]):
                faults.append(fault)
                self._fail([job], fault)
            if len(faults) == 2:
                self._fail(jobs[index + 1 :], faults[-1])
                break
        return faults[-1] if faults else None

    def _fail(self, jobs: list[Job], fault: SpoolFault) -> None:
        for job in jobs:
            if job.required:
                self._required.append(job)
            else:
                job.done(fault)

    def _note(self, fault: SpoolFault | None) -> None:
        self._retry_s = time.monotonic() + TICK_S
        before, self._fault = self._fault, fault
        if (fault and fault.fate) != (before and before.fate):
            self._on_fault(fault)
