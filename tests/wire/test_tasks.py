from __future__ import annotations

import asyncio
import time

import pytest

from saccade.tasks import until, within


@pytest.mark.parametrize("ticks", range(8))
def test_a_cancellation_is_never_lost_even_beside_the_result(ticks: int) -> None:
    async def main() -> None:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def work() -> int:
            return await answer

        waiting = asyncio.create_task(within(10, work()))
        for _ in range(3):
            await asyncio.sleep(0)
        answer.set_result(1)
        for _ in range(ticks):
            await asyncio.sleep(0)
        if waiting.cancel():
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            assert await waiting == 1

    asyncio.run(main())


def test_what_takes_too_long_is_cancelled_and_waited_for() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(within(0.01, work()))
    assert ended


def test_an_error_of_the_work_is_the_error_of_the_wait() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(within(1, work()))


def test_until_gives_the_result_or_ends_the_work() -> None:
    ended: list[str] = []

    async def slow() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            ended.append("slow")
            raise
        return "late"

    async def main() -> None:
        assert await until(time.monotonic() + 5, asyncio.sleep(0, "soon")) == "soon"
        began_s = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await until(began_s + 0.05, slow())
        assert time.monotonic() - began_s < 5
        assert ended == ["slow"]
        with pytest.raises(asyncio.TimeoutError):
            await until(began_s - 1, slow())

    asyncio.run(main())


def test_a_task_that_is_cancelled_in_until_stays_cancelled() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(until(time.monotonic() + 5, asyncio.sleep(10)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
