"""Links that go silent, break in the middle of a message, or die at one end only."""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bench.link.link_events import Sides
from bench.link.proxy import LinkProxy
from bench.link.trace import Trace
from bench.link.wire import Shape

from saccade.channel import KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS
from saccade_testing.edge_process import at
from saccade_testing.fault_scene import Scene, packets_of, play
from saccade_testing.journal import told

# The longest outage of a measured 5G uplink (5gmemu, mmWave, driving).
BLACKHOLE_S = 123
# Compressed: the link, and the edge's keepalive, deadline and timeouts. The cloud's keepalive is
# not. FAULT_REAL_TIME=1 takes all of them as they are, and two minutes more.
SPEED = 1.0 if os.environ.get("FAULT_REAL_TIME") else 5.0
KEEPALIVE_S = (KEEPALIVE_MS + KEEPALIVE_TIMEOUT_MS) / 1000
RESETS = 12


@pytest.mark.timeout(600)
def test_a_blackhole_is_found_by_pings_and_what_was_captured_in_it_comes_afterwards(
    scene: Scene,
) -> None:
    async def story() -> None:
        with scene.cloud() as (_, address):
            shape = Shape(Trace.constant(1e6), 0.05)
            async with LinkProxy(address, shape, speed=SPEED) as link:
                plan = scene.plan(
                    link.address, every_s=0.2 / SPEED, deadline_s=2.0, speed=SPEED, ask_every=20
                )
                async with plan.start() as edge:
                    await edge.until(lambda j: j.count("Connected") == 1 and len(j.handed) > 20)
                    before, began_s = len(edge.journal.handed), link.clock.now()
                    link.blackhole(BLACKHOLE_S)
                    await edge.until(told("ConnectionLost"), BLACKHOLE_S)
                    found_s = link.clock.now() - began_s
                    assert edge.journal.count("Connected") == 1
                    await edge.until(told("Connected", 2), 2 * BLACKHOLE_S)
                    again_s = link.clock.now() - began_s
                    captured = len(edge.journal.handed) - before
                    await edge.end("stop")
                async with replace(plan, every_s=0.0).start() as edge:
                    await edge.end("drain")
        fault = f"blackhole of {BLACKHOLE_S} s at x{SPEED:g}: found in {found_s:.0f} s"
        figures = scene.examine(fault, plan)
        assert found_s < BLACKHOLE_S  # by pings: no byte says so
        assert again_s >= BLACKHOLE_S
        assert captured > 300  # it went on capturing
        assert (figures.in_spool, figures.lost) == (0, 0)

    play(story)


def test_connections_that_are_reset_in_the_middle_of_messages_cost_nothing(
    scene: Scene, tmp_path: Path
) -> None:
    """Messages of 10 kB take a fifth of a second on this link."""
    chance = random.Random(3)

    async def story() -> None:
        with scene.cloud() as (_, address):
            async with LinkProxy(address, Shape(Trace.constant(4e5), 0.02)) as link:
                packets = packets_of(tmp_path, 32)
                plan = scene.plan(link.address, packets=packets, every_s=0.2)
                async with plan.start() as edge:
                    for resets in range(1, RESETS + 1):
                        await edge.until(told("Connected", resets))
                        await asyncio.sleep(chance.uniform(0.1, 0.6))
                        await edge.until(lambda j: link.up.wire.queued_bytes > 3000)
                        link.reset()
                        await edge.until(told("ConnectionLost", resets))
                    link.set_trace(None)
                    await edge.end("stop")
                async with replace(plan, every_s=0.0).start() as edge:
                    await edge.end("drain")
                assert link.connections.reset >= RESETS
        figures = scene.examine(f"reset in a message {RESETS} times", plan)
        assert figures.captured > 3 * RESETS
        assert (figures.in_spool, figures.lost) == (0, 0)

    play(story)


def test_a_half_open_connection_is_found_within_the_keepalives_time(
    scene: Scene, tmp_path: Path
) -> None:
    """At both ends, at the edge's alone, at the cloud's alone, and where nothing is being said:
    four edges, in real time.
    """
    lines: dict[str, tuple[Sides, float]] = {
        "both": ("both", 0.1),
        "edge": ("edge", 0.1),
        "cloud": ("cloud", 0.1),
        "idle": ("both", 0.0),
    }

    async def found_s(address: str, name: str) -> float:
        side, every_s = lines[name]
        async with LinkProxy(address, Shape(None, 0.02)) as link:
            usual = scene.plan(link.address, every_s=every_s, ask_every=10)
            plan = at(usual, tmp_path, f"kerb-{name}")
            async with plan.start() as edge:
                await edge.until(told("Connected"))
                await edge.send(20)
                await asyncio.sleep(1.0)
                began = time.monotonic()
                link.half_open(side)
                await edge.until(told("ConnectionLost"), KEEPALIVE_S + 30)
                took_s = time.monotonic() - began
                await edge.until(told("Connected", 2))
                assert link.connections.silenced == 1
                await edge.end("stop")
            async with replace(plan, every_s=0.0).start() as edge:
                await edge.end("drain")
        return took_s

    async def story() -> None:
        with scene.cloud() as (_, address):
            took = await asyncio.gather(*(found_s(address, name) for name in lines))
        plans = [at(scene.plan(address), tmp_path, f"kerb-{name}") for name in lines]
        said = ", ".join(f"{name} in {s:.0f} s" for name, s in zip(lines, took, strict=True))
        figures = scene.examine(f"half-open: {said}", *plans)
        assert max(took) < KEEPALIVE_S + 10  # where the machine is late
        assert figures.captured > 100
        assert (figures.in_spool, figures.lost) == (0, 0)

    play(story)
