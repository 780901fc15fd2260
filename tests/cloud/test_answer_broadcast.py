from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from saccade.errors import LimitExceeded, Unreachable
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.store.store_types import Observation


def posted(sequence: int, camera: str = "north") -> Observation:
    return Observation("kerb", camera, 1, sequence, 0, b"", "what", "that", "stop", 100, 0)


async def seen(broadcast: AnswerBroadcast, count: int, camera: str = "") -> list[int]:
    sequences: list[int] = []
    async with aclosing(broadcast.subscribe(lambda p: camera in ("", p.camera))) as answers:
        async for answer in answers:
            sequences.append(answer.sequence)
            if len(sequences) == count:
                break
    return sequences


def test_each_watcher_sees_what_it_wants_in_order() -> None:
    async def main() -> None:
        broadcast = AnswerBroadcast()
        everything = asyncio.create_task(seen(broadcast, 4))
        south = asyncio.create_task(seen(broadcast, 2, "south"))
        await asyncio.sleep(0)
        for sequence in range(4):
            broadcast.publish(posted(sequence, "south" if sequence % 2 else "north"))
        assert await everything == [0, 1, 2, 3]
        assert await south == [1, 3]
        assert broadcast.subscribers == 0

    asyncio.run(main())


def test_a_watcher_that_falls_behind_gets_what_waits_and_then_an_error() -> None:
    async def main() -> None:
        broadcast = AnswerBroadcast(backlog=3)
        answers = broadcast.subscribe(lambda _: True)
        first = asyncio.ensure_future(anext(answers))
        await asyncio.sleep(0)
        for sequence in range(9):
            broadcast.publish(posted(sequence))
        assert (await first).sequence == 0
        assert [(await anext(answers)).sequence for _ in range(2)] == [1, 2]
        with pytest.raises(LimitExceeded, match="3 answers behind"):
            await anext(answers)
        assert broadcast.subscribers == 0

    asyncio.run(main())


def test_closing_tells_all_watchers_why() -> None:
    async def main() -> None:
        broadcast = AnswerBroadcast()
        watching = [asyncio.create_task(seen(broadcast, 9)) for _ in range(3)]
        await asyncio.sleep(0)
        broadcast.close(Unreachable("the cloud is stopping"))
        for task in watching:
            with pytest.raises(Unreachable, match="stopping"):
                await task

    asyncio.run(main())
