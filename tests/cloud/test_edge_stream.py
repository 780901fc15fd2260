from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from saccade.bundle import Bundle
from saccade.errors import Unreachable
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.assemble import open_cloud, open_engine
from saccade_cloud.edge_stream import EdgeStream
from saccade_testing.cloud_server import QUICK, hello, packet, question


def test_an_edge_that_leaves_its_messages_unread_loses_its_session(bundle: Bundle) -> None:
    async def edge() -> AsyncIterator[pb.EdgeMessage]:
        yield pb.EdgeMessage(hello=hello(bundle))
        yield pb.EdgeMessage(packet=packet())
        for i in range(1, 31):
            yield pb.EdgeMessage(question=question(i))
        await asyncio.Event().wait()

    async def main() -> None:
        engine = open_engine(bundle)
        cloud = open_cloud([(bundle, engine)], replace(QUICK, stalled_timeout_s=0.1))
        async with aclosing(EdgeStream(cloud, edge()).replies()) as replies:
            assert (await anext(replies)).HasField("welcome")
            await asyncio.sleep(1)
            with pytest.raises(Unreachable, match=r"read nothing for 0\.1 s"):
                async for _ in replies:
                    pass
        assert not any(camera.connected for camera in cloud.frames.cameras())
        await cloud.close()

    asyncio.run(main())


def test_a_defect_while_answering_is_not_swallowed(bundle: Bundle) -> None:
    async def edge() -> AsyncIterator[pb.EdgeMessage]:
        yield pb.EdgeMessage(hello=hello(bundle))
        raise ZeroDivisionError("a defect")

    async def main() -> None:
        cloud = open_cloud([(bundle, open_engine(bundle))], QUICK)
        with pytest.raises(ZeroDivisionError):
            async for _ in EdgeStream(cloud, edge()).replies():
                pass
        await cloud.close()

    asyncio.run(main())
