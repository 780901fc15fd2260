"""The kernel's own TCP and UDP over the link, between two namespaces."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench.link import netns
from bench.link.netns import Host, NamespaceLink
from bench.link.trace import Trace
from bench.link.wire import Shape

from saccade.errors import ConfigError

REASON = netns.why_not()
needs_namespaces = pytest.mark.skipif(bool(REASON), reason=REASON or "namespaces work")

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"}
PLACE = "10.77.0.2:7000"


def end(host: Host, *words: str) -> subprocess.Popen[str]:
    command = host.command(sys.executable, "-m", "bench.link.ends", *words)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)


async def between(link: NamespaceLink, cloud: str, *edge: str) -> Any:
    """Run one end in each; what the sink or else the edge said."""
    serving = end(link.cloud, cloud, PLACE)
    try:
        assert serving.stdout
        assert await asyncio.to_thread(serving.stdout.readline) == "ready\n"
        asking = end(link.edge, edge[0], PLACE, *edge[1:])
        try:
            heard, _ = await asyncio.to_thread(asking.communicate, timeout=60)
        finally:
            asking.kill()
        if cloud == "echo":
            return json.loads(heard)
        said, _ = await asyncio.to_thread(serving.communicate, timeout=60)
        return json.loads(said)
    finally:
        serving.kill()
        serving.communicate()


def rate_bps(arrivals: Sequence[tuple[float, int]]) -> float:
    (first, begun), (last, received) = arrivals[0], arrivals[-1]
    return (received - begun) * 8 / (last - first)


def ours() -> Sequence[str]:
    return [path.name for path in Path("/run/netns").glob("saccade-*")]


@needs_namespaces
def test_each_way_takes_its_delay() -> None:
    async def main() -> None:
        async with NamespaceLink(Shape(None, 0.03), Shape(None, 0.02)) as link:
            times = await between(link, "echo", "ping", "10")
            assert 0.05 <= min(times) < 0.15

    asyncio.run(main())


@needs_namespaces
def test_tcp_gets_what_the_trace_gives() -> None:
    async def main() -> None:
        async with NamespaceLink(Shape(Trace.constant(4e6), 0.01)) as link:
            arrivals = await between(link, "sink", "send", "700000")
            assert arrivals[-1][1] == 700_000
            assert 1.2e6 < rate_bps(arrivals) < 4.2e6
            assert link.up.passed.bytes > 700_000

    asyncio.run(main())


@needs_namespaces
@pytest.mark.parametrize(("queue", "loss"), [(6000, 0.0), (100_000, 0.05)])
def test_what_is_dropped_or_lost_tcp_sends_again(queue: int, loss: float) -> None:
    async def main() -> None:
        shape = Shape(Trace.constant(8e6), 0.005, queue)
        async with NamespaceLink(shape, loss=loss, seed=1) as link:
            arrivals = await between(link, "sink", "send", "400000")
            assert arrivals[-1][1] == 400_000
            assert (link.up.passed.dropped > 0) == (loss == 0)
            assert (link.lost > 3) == (loss > 0)

    asyncio.run(main())


@needs_namespaces
def test_namespaces_are_gone_whatever_happens() -> None:
    async def main() -> None:
        async with NamespaceLink(Shape()) as link:
            assert link.edge.namespace in ours()
            assert stale not in ours()
            raise ZeroDivisionError

    before = ours()
    stale = "saccade-999999999-edge"  # its process can't be there
    subprocess.run(["ip", "netns", "add", stale], check=True)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert ours() == before


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    async def main() -> None:
        async with NamespaceLink(Shape()):
            pass

    with pytest.raises(ConfigError, match="need root"):
        asyncio.run(main())


@pytest.mark.parametrize("loss", [-0.1, 1.0, float("nan")])
def test_a_loss_that_is_none_is_refused(loss: float) -> None:
    with pytest.raises(ConfigError, match="a loss of"):
        NamespaceLink(Shape(), loss=loss)
