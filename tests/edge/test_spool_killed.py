from __future__ import annotations

import asyncio
from pathlib import Path

from saccade.bundle import Bundle
from saccade_edge.spool.spool_inspection import look_into
from saccade_testing.edge_process import EdgePlan
from saccade_testing.fault_scene import packets_of
from saccade_testing.kill_loop import kill_loop
from saccade_testing.scripted_cloud import scripted_cloud
from saccade_testing.storing_cloud import Store


def test_an_edge_that_is_killed_again_and_again_loses_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def test() -> None:
        store = Store(bundle)
        spool = tmp_path / "spool"
        async with scripted_cloud(bundle, store.script) as cloud:
            plan = EdgePlan(
                cloud.address,
                bundle.folder,
                packets_of(tmp_path, 1),
                spool,
                tmp_path / "journal",
                every_s=0.001,
                ask_every=4,
            )
            journal = await kill_loop(plan, cycles=10, seed=1)
        stored = {
            ("kerb", boot, number): packet for (boot, number), packet in store.packets.items()
        }
        assert len(journal.handed) > 100
        assert journal.handed - stored.keys() == set()  # all that was handed over is there
        assert stored.items() <= journal.captured.items()  # and nothing in another's place
        assert store.mistaken == []
        report, waiting = look_into(spool)
        assert waiting == []
        assert report.counts == {"handed": report.handed, "delivered": report.handed}
        assert report.handed >= len(journal.handed)

    asyncio.run(asyncio.wait_for(test(), 110))
