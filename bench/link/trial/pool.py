"""Several trials at a time, each in a process of its own, and none left behind."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context

from rich.progress import Progress

from bench.link.trial.fates import Trial
from bench.link.trial.running import Arm, Setting, trial
from bench.link.trial.stretch import Stretch

AGAIN_S = 1.0


def run_all(jobs: Sequence[tuple[Arm, Stretch]], setting: Setting, parallel: int) -> list[Trial]:
    """In the order of the jobs, ``parallel`` at a time, each in a process of its own."""
    with (
        ProcessPoolExecutor(parallel, get_context("spawn"), interruptible) as pool,
        Progress(transient=True) as bar,
    ):
        task = bar.add_task("trials", total=len(jobs))
        found = [pool.submit(trial, arm, stretch, setting) for arm, stretch in jobs]
        for each in found:
            each.add_done_callback(lambda _: bar.advance(task))
        try:
            return [each.result() for each in found]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end_workers()
            raise


def _end_workers() -> None:
    """Again and again: a worker that was interrupted begins what it has fetched already."""
    while workers := active_children():
        for worker in workers:
            worker.terminate()
        workers[0].join(AGAIN_S)


def interruptible() -> None:
    """A trial that is ended ends its edge and its cloud."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
