"""Render training shards on all cores, with a progress bar; continues where it stopped."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2

from saccade_drawn_world.training import training_loop
from saccade_drawn_world.training.shards import FIRST_TRAINING_SEED, write_shard

SHARD = 500  # frames


def prerender(root: Path, frames: int, workers: int) -> None:
    """Render ``frames`` frames into ``root``; shards that exist are kept."""
    root.mkdir(parents=True, exist_ok=True)
    jobs = []
    for i in range(-(-frames // SHARD)):
        first = FIRST_TRAINING_SEED + i * SHARD
        jobs.append((root / f"shard-{i:05d}", range(first, first + SHARD)))
    with (
        ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool,
        training_loop.progress() as bar,
    ):
        task = bar.add_task("render", total=len(jobs), note="")
        for done in as_completed([pool.submit(write_shard, *job) for job in jobs]):
            done.result()
            bar.advance(task)
