from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from saccade.bundle import Bundle
from saccade.v1 import tokens_pb2
from saccade_edge.spool.inspect import look_into
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
            handed = await kill_loop(cloud.address, bundle.folder, spool, cycles=10, seed=1)
        packets = map(tokens_pb2.FramePacket.FromString, store.packets.values())
        stored = Counter(packet.layers[0].decode() for packet in packets)
        assert handed.cycles == 10
        assert len(handed.contents) > 100
        assert handed.contents - stored.keys() == set()  # all that was handed over is there
        assert set(stored.values()) == {1}  # once in effect
        assert store.mistaken == []  # and nothing in another's place
        report, waiting = look_into(spool)
        assert waiting == []
        assert report.counts == {"handed": report.handed, "delivered": report.handed}
        assert report.handed >= len(handed.contents)

    asyncio.run(asyncio.wait_for(test(), 110))
