"""A clock that jumps: the edge process's own `time.time`, not the machine's."""

from __future__ import annotations

from saccade_testing.fault_scene import Scene, play
from saccade_testing.journal import told

HOUR_S = 3600
NOBODY = "127.0.0.1:9"


def test_a_clock_that_is_set_while_the_edge_runs_costs_nothing(scene: Scene) -> None:
    """Two days back, from before the spool was made, then an hour ahead."""

    async def story() -> None:
        with scene.cloud() as (_, address):
            plan = scene.plan(address)
            async with plan.start() as edge:
                for off_s in (0, -48 * HOUR_S, HOUR_S, 0):
                    await edge.tell(f"clock {off_s}")
                    await edge.send(25)
                scene.stop_cloud()
                await edge.until(told("ConnectionLost"))
                for off_s in (-48 * HOUR_S, HOUR_S):
                    await edge.tell(f"clock {off_s}")
                    await edge.send(25)
                with scene.cloud("--listen", address):
                    await edge.end("drain")
        figures = scene.examine("clock set 48 h back, 1 h ahead", plan)
        assert (figures.stored, figures.in_spool, figures.lost) == (150, 0, 0)

    play(story)


def test_packets_that_seem_too_old_are_counted_as_expired(scene: Scene) -> None:
    """A hundred hours ahead, with 72 kept: what was captured before looks old."""

    async def story() -> None:
        plan = scene.plan(NOBODY)
        async with plan.start() as edge:
            await edge.send(30)
            await edge.tell(f"clock {100 * HOUR_S}")
            await edge.send(20)
            await edge.end("stop")
        async with plan.start() as edge:
            await edge.tell(f"clock {100 * HOUR_S}")
            await edge.until(lambda j: scene.counted(plan, "expired") > 0)
            await edge.end("stop")
        with scene.cloud() as (_, address):
            plan = scene.plan(address)
            async with plan.start() as edge:
                await edge.end("drain")
        figures = scene.examine("clock set 100 h ahead", plan)
        assert (figures.stored, figures.counters) == (20, {"expired": 30})

    play(story)
