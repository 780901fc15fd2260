"""Processes full of simulated edges, and what they report."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from bench.simulated.edges import Crew, Edges, Heard, Load, share
from saccade.errors import RemoteError
from saccade_cloud.descriptors import allow_descriptors

REPLY_S = 120.0
# A channel holds a socket and its waker; the interpreter, its libraries and pipes the rest.
DESCRIPTORS_PER_EDGE = 2
OTHER_DESCRIPTORS = 100
START_S = 0.2  # until a load's first packet is due: every process has heard of it by then


class Fleet:
    """Connected edges. Every method waits for all of them."""

    def __init__(self, edges: int, links: list[Connection]) -> None:
        self._edges = edges
        self._links = links

    def connect(self) -> None:
        self._all("connect")

    def bear(self, rate_hz: float, warm_s: float, seconds: float) -> Heard:
        """``rate_hz`` packets a second over all edges."""
        load = Load(self._edges / rate_hz, time.monotonic() + START_S, warm_s, seconds)
        parts: list[Heard] = self._all("bear", load)
        return Heard(
            sum(part.offered for part in parts),
            [ms for part in parts for ms in part.late_ms],
            [ms for part in parts for ms in part.ack_ms],
        )

    def leave(self) -> None:
        self._all("leave")

    def _all(self, method: str, *arguments: object) -> list[Any]:
        for link in self._links:
            link.send((method, arguments))
        replies = [_reply(link) for link in self._links]
        for reply in replies:
            if isinstance(reply, str):
                raise RemoteError(f"simulated edges: {reply}")
        return [reply[0] for reply in replies]


@contextmanager
def fleet(crew: Crew, processes: int) -> Iterator[Fleet]:
    """``crew`` shared among ``processes``, which have ended when the ``with`` statement has."""
    edges = len(crew.numbers)
    with ExitStack() as stack:
        parts = share(edges, processes)
        links = [
            stack.enter_context(
                _process(replace(crew, numbers=part, ramp_hz=crew.ramp_hz / len(parts)))
            )
            for part in parts
        ]
        yield Fleet(edges, links)


@contextmanager
def _process(crew: Crew) -> Iterator[Connection]:
    # gRPC's threads don't survive a fork.
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_live, args=(crew, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()  # who waits for a command then ends
        process.join(5)
        process.kill()


def _live(crew: Crew, link: Connection) -> None:
    """The other process."""
    allow_descriptors(DESCRIPTORS_PER_EDGE * len(crew.numbers) + OTHER_DESCRIPTORS)
    asyncio.run(_obey(crew, link))


async def _obey(crew: Crew, link: Connection) -> None:
    edges = Edges(crew)
    while True:
        try:
            method, arguments = await asyncio.to_thread(link.recv)
        except EOFError:
            return
        try:
            reply: object = (await getattr(edges, method)(*arguments),)
        except Exception as error:  # noqa: BLE001 - told to who asked, who raises it
            reply = f"{type(error).__name__}: {error}"
        link.send(reply)


def _reply(link: Connection) -> Any:  # noqa: ANN401 - (result,) or what went wrong
    if not link.poll(REPLY_S):
        raise RemoteError(f"simulated edges said nothing for {REPLY_S:g} s")
    try:
        return link.recv()
    except EOFError:
        return "their process ended"
