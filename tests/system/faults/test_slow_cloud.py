"""A cloud that accepts the stream, says welcome and never reads again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_testing.fault_scene import Scene, packets_of, play
from saccade_testing.journal import told
from saccade_testing.scripted_cloud import Line, scripted_cloud

PACKETS = 1500  # of 10 kB: 15 MB that must not stay in memory
MOST_GROWTH = 8 << 20  # 64 live packets, a page of the backlog, SQLite's caches


async def never_reads(line: Line) -> None:
    await line.greet()
    await asyncio.Event().wait()


@pytest.mark.timeout(300)
def test_a_cloud_that_never_reads_costs_the_edge_no_memory(
    scene: Scene, bundle: Bundle, tmp_path: Path
) -> None:
    async def story() -> None:
        async with scripted_cloud(bundle, never_reads) as deaf:
            plan = scene.plan(deaf.address, packets=packets_of(tmp_path, 32))
            async with plan.start() as edge:
                await edge.until(told("Connected"))
                await edge.send(200)
                before = edge.resident_bytes()
                await edge.send(PACKETS - 200)
                grown = edge.resident_bytes() - before
                assert edge.journal.count("Connected") == 1
                await edge.end("stop")
            waiting = scene.waiting(plan)
        with scene.cloud() as (_, address):
            async with replace(plan, cloud=address).start() as edge:
                await edge.end("drain", 90)
        figures = scene.examine(f"cloud never reads: edge grew {grown / 1e6:.1f} MB", plan)
        assert waiting == figures.stored == PACKETS
        assert grown < MOST_GROWTH
        assert (figures.in_spool, figures.lost) == (0, 0)

    play(story)
