"""The kernel's own TCP and UDP over the link, between two namespaces."""

from __future__ import annotations

import asyncio
import json
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

ECHO = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("10.77.0.2", 7000))
print("ready", flush=True)
while True:
    data, address = sock.recvfrom(2000)
    sock.sendto(data, address)
"""
PINGS = """
import json, socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout({patience})
times = []
for n in range({count}):
    began = time.monotonic()
    sock.sendto(b"x", ("10.77.0.2", 7000))
    try:
        sock.recv(2000)
        times.append(time.monotonic() - began)
    except TimeoutError:
        pass
print(json.dumps(times))
"""
TAKE = """
import json, socket, time
with socket.create_server(("10.77.0.2", 7001)) as server:
    print("ready", flush=True)
    sock, _ = server.accept()
    received, first = 0, 0.0
    while data := sock.recv(65536):
        first = first or time.monotonic()
        received += len(data)
    print(json.dumps([received, time.monotonic() - first]))
"""
GIVE = """
import socket
with socket.create_connection(("10.77.0.2", 7001)) as sock:
    sock.sendall(bytes({count}))
"""


def script(host: Host, code: str) -> subprocess.Popen[str]:
    command = host.command(sys.executable, "-c", code)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


async def between(link: NamespaceLink, cloud: str, edge: str) -> tuple[str, str]:
    """Run one script in each; what the cloud and the edge said. A cloud that goes on is ended."""
    serving = script(link.cloud, cloud)
    try:
        assert serving.stdout
        assert await asyncio.to_thread(serving.stdout.readline) == "ready\n"
        asking = script(link.edge, edge)
        try:
            heard, _ = await asyncio.to_thread(asking.communicate, timeout=60)
        finally:
            asking.kill()
        if cloud == ECHO:
            serving.kill()
        said, _ = await asyncio.to_thread(serving.communicate, timeout=60)
        return said, heard
    finally:
        serving.kill()


def ours() -> Sequence[str]:
    return [path.name for path in Path("/run/netns").glob("saccade-*")]


@needs_namespaces
def test_each_way_takes_its_delay() -> None:
    async def main() -> None:
        async with NamespaceLink(Shape(None, 0.03), Shape(None, 0.02)) as link:
            _, heard = await between(link, ECHO, PINGS.format(count=10, patience=5))
            times = json.loads(heard)
            assert len(times) == 10
            assert 0.05 <= min(times) < 0.15

    asyncio.run(main())


@needs_namespaces
def test_tcp_gets_what_the_trace_gives() -> None:
    async def main() -> None:
        async with NamespaceLink(Shape(Trace.constant(4e6), 0.01)) as link:
            said, _ = await between(link, TAKE, GIVE.format(count=1_000_000))
            received, seconds = json.loads(said)
            assert received == 1_000_000
            assert 1.2e6 < received * 8 / seconds < 4.2e6
            assert link.up.passed.bytes > received

    asyncio.run(main())


@needs_namespaces
def test_a_full_queue_drops_and_tcp_sends_again() -> None:
    async def main() -> None:
        shape = Shape(Trace.constant(4e6), 0.01, queue_bytes=6000)
        async with NamespaceLink(shape) as link:
            said, _ = await between(link, TAKE, GIVE.format(count=500_000))
            assert json.loads(said)[0] == 500_000
            assert link.up.passed.dropped > 0

    asyncio.run(main())


@needs_namespaces
def test_packets_are_lost_by_their_seed() -> None:
    async def lost(seed: int) -> tuple[int, Any]:
        async with NamespaceLink(Shape(), loss=0.2, seed=seed) as link:
            _, heard = await between(link, ECHO, PINGS.format(count=60, patience=0.1))
            return link.lost, json.loads(heard)

    async def main() -> None:
        count, times = await lost(1)
        # 0.64 of 60 come back; on a busy machine some come too late.
        assert 3 <= count <= 40
        assert 10 <= len(times) < 60

    asyncio.run(main())


@needs_namespaces
def test_namespaces_are_gone_whatever_happens() -> None:
    async def main() -> None:
        before = ours()
        with pytest.raises(ZeroDivisionError):
            async with NamespaceLink(Shape()) as link:
                assert link.edge.namespace in ours()
                raise ZeroDivisionError
        assert ours() == before
        stale = "saccade-999999999-edge"
        subprocess.run(["ip", "netns", "add", stale], check=True)
        async with NamespaceLink(Shape()):
            assert stale not in ours()
        assert ours() == before

    asyncio.run(main())


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
