"""Processes that are killed with SIGKILL, of the edge and of the cloud."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from saccade_testing.edge_process import at
from saccade_testing.fault_scene import Scene, play
from saccade_testing.journal import told
from saccade_testing.kill_loop import kill_loop

EDGES = 4  # side by side
# At least so many kills in all.
CYCLES = max(int(os.environ.get("FAULT_CYCLES", "200")), EDGES)
CLOUD_KILLS = 8


@pytest.mark.timeout(600 + CYCLES)
def test_edges_that_are_killed_again_and_again_lose_nothing(scene: Scene, tmp_path: Path) -> None:
    each = -(-CYCLES // EDGES)

    async def story() -> None:
        with scene.cloud() as (_, address):
            usual = scene.plan(address, every_s=0.004, ask_every=20)
            plans = [at(usual, tmp_path, f"kerb{n}") for n in range(EDGES)]
            loops = [kill_loop(plan, cycles=each, seed=n) for n, plan in enumerate(plans)]
            journals = await asyncio.gather(*loops)
        figures = scene.examine(f"edge killed {each * EDGES} times", *plans)
        assert all(journal.count("Connected") > each // 4 for journal in journals)
        assert figures.captured > 5 * CYCLES
        assert (figures.in_spool, figures.counters) == (0, {})

    play(story)


@pytest.mark.timeout(600)
def test_a_cloud_that_is_killed_while_edges_send_has_all_in_the_end(
    scene: Scene, tmp_path: Path
) -> None:
    chance = random.Random(11)

    async def story() -> None:
        with scene.cloud() as (_, address):
            pass  # a port that is free, and a store that counts
        usual = scene.plan(address, every_s=0.02, ask_every=50)
        plans = [at(usual, tmp_path, f"kerb{n}") for n in range(2)]
        async with plans[0].start() as first, plans[1].start() as second:
            edges = (first, second)
            for kill in range(CLOUD_KILLS):
                with scene.cloud("--listen", address) as (cloud, _):
                    for edge in edges:
                        await edge.until(told("Connected", kill + 1))
                    await asyncio.sleep(chance.uniform(0.1, 0.8))
                    cloud.kill()
                    cloud.wait(15)
            with scene.cloud("--listen", address):
                for edge in edges:
                    await edge.end("stop")
                for plan in plans:
                    async with scene.plan(
                        address, device=plan.device, spool=plan.spool, journal=plan.journal
                    ).start() as last:
                        await last.end("drain")
        figures = scene.examine(f"cloud killed {CLOUD_KILLS} times", *plans)
        assert figures.captured > 100
        assert (figures.in_spool, figures.counters) == (0, {})

    play(story)
