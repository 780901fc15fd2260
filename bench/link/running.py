"""The emulated link beside code that is not asyncio: in a thread of its own, as in a process.

with running_link("127.0.0.1:7860", Shape(trace, 0.04), speed=4) as link:
start_an_edge(link.address)
link.do("blackhole 20")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from bench.link.link_events import parse
from bench.link.proxy import LinkProxy

T = TypeVar("T")


class RunningLink:
    """Handles a `LinkProxy` that runs in another thread; every call waits until it is done."""

    def __init__(self, proxy: LinkProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop
        self.address = proxy.address

    def do(self, line: str) -> None:
        """An event now, as `bench.link.link_events` writes it. Raises ``ConfigError``."""
        event = parse(line)

        async def apply() -> None:
            event.apply(self._proxy)

        _wait(self._loop, apply())

    def report(self) -> dict[str, Any]:
        """What has passed so far, and the link's second."""

        async def report() -> dict[str, Any]:
            return self._proxy.report()

        return _wait(self._loop, report())


@contextmanager
def running_link(proxy: LinkProxy) -> Iterator[RunningLink]:
    """Its time begins here. Raises ``ConfigError`` where it can't listen."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="link", daemon=True)
    thread.start()
    try:
        _wait(loop, proxy.__aenter__())
        try:
            yield RunningLink(proxy, loop)
        finally:
            _wait(loop, proxy.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _wait(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
