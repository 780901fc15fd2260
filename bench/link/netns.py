"""The emulated link under IP: two network namespaces, and packets between them through our wires.

    python -m bench.link.netns --trace driving --loss 0.01

Needs root, `ip` and /dev/net/tun, no kernel module besides. Here TCP is the kernel's own from end
to end, so loss, queues and outages have their effect on its congestion control and its timers;
`bench.link.proxy` can't show that. Each packet is one IP packet: a full queue drops it, and a
share of them is lost at random. Time is the wall's: TCP's timers would not run faster.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from bench.link.clock import Clock
from bench.link.proxy import downlink_of
from bench.link.trace import Trace
from bench.link.trace_files import trace_of
from bench.link.wire import QUEUE_BYTES, Shape, Wire
from saccade.errors import ConfigError

EDGE_IP, CLOUD_IP = "10.77.0.1", "10.77.0.2"
_TUN = Path("/dev/net/tun")
_PREFIX = "saccade-"
# linux/if_tun.h: TUNSETIFF, IFF_TUN, IFF_NO_PI (no four bytes before each packet).
_SET_NAME, _IS_TUN, _BARE = 0x400454CA, 0x0001, 0x1000
_MOST_PACKET = 65535


def why_not() -> str:
    """What is missing here, empty where namespaces work."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` command"
    try:
        os.close(os.open(_TUN, os.O_RDWR))
    except OSError as error:
        return f"{_TUN} cannot be opened: {error.strerror}"
    probe = f"{_PREFIX}{os.getpid()}-probe"
    added = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return f"no network namespace: {added.stderr.strip()}" if added.returncode else ""


@dataclass(frozen=True, slots=True)
class Host:
    """One end: a namespace with an address in it."""

    namespace: str
    ip: str

    def command(self, *words: str) -> list[str]:
        """What runs ``words`` there."""
        return ["ip", "netns", "exec", self.namespace, *words]


class NamespaceLink:
    """Two hosts, ``edge`` and ``cloud``, while the ``async with`` statement lasts.

    ``loss``: the share of packets, either way, that never arrives; ``seed`` decides which. Raises
    ``ConfigError`` where namespaces don't work.
    """

    def __init__(
        self, up: Shape, down: Shape | None = None, *, loss: float = 0.0, seed: int = 0
    ) -> None:
        if not 0 <= loss < 1:
            raise ConfigError(f"a loss of {loss:g}: a share from 0, below 1")
        self._shapes = (up, down or downlink_of(up))
        self._loss, self._seed = loss, seed
        name = f"{_PREFIX}{os.getpid()}-{id(self) % 0xFFFF:04x}"
        self.edge = Host(f"{name}-edge", EDGE_IP)
        self.cloud = Host(f"{name}-cloud", CLOUD_IP)
        self._tuns: list[int] = []
        self.lost = 0

    async def __aenter__(self) -> NamespaceLink:  # noqa: PYI034 - typing.Self is Python 3.11
        if reason := await asyncio.to_thread(why_not):
            raise ConfigError(reason)
        clock = Clock()
        self.up, self.down = (Wire(clock, shape) for shape in self._shapes)
        try:
            await asyncio.to_thread(self._build)
        except BaseException:
            self._remove()
            raise
        edge, cloud = self._tuns
        for source, sink, wire, way in ((edge, cloud, self.up, 0), (cloud, edge, self.down, 1)):
            random = Random(f"{self._seed} {way}")
            read = partial(self._read, source, sink, wire, random)
            asyncio.get_running_loop().add_reader(source, read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for wire in (self.up, self.down):
            wire.close()
        for tun in self._tuns:
            asyncio.get_running_loop().remove_reader(tun)
        self._remove()

    def blackhole(self, seconds: float) -> None:
        """Both ways: what is queued waits, what no longer fits is dropped."""
        self.up.blackhole(seconds)
        self.down.blackhole(seconds)

    def set_trace(self, trace: Trace | None) -> None:
        """Of the uplink."""
        self.up.set_trace(trace)

    def report(self) -> dict[str, Any]:
        """What has passed; ``lost`` by chance, ``dropped`` by a full queue."""
        return {"up": asdict(self.up.passed), "down": asdict(self.down.passed), "lost": self.lost}

    def _build(self) -> None:
        _remove_stale()
        for host in (self.edge, self.cloud):
            _ip("netns", "add", host.namespace)
            device = f"tun{id(self) % 0xFFFF:04x}{host.ip[-1]}"
            self._tuns.append(_open_tun(device))
            _ip("link", "set", device, "netns", host.namespace)
            _ip("-n", host.namespace, "addr", "add", f"{host.ip}/24", "dev", device)
            for each in (device, "lo"):
                _ip("-n", host.namespace, "link", "set", each, "up")

    def _remove(self) -> None:
        for tun in self._tuns:
            os.close(tun)
        self._tuns.clear()
        for host in (self.edge, self.cloud):
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)

    def _read(self, source: int, sink: int, wire: Wire, random: Random) -> None:
        for _ in range(64):  # then let timers have their turn
            try:
                packet = os.read(source, _MOST_PACKET)
            except BlockingIOError:
                return
            if packet[0] >> 4 != 4:
                continue  # IPv6 looking for neighbours
            if random.random() < self._loss:
                self.lost += 1
            else:
                wire.offer(len(packet), partial(self._write, sink, packet))

    def _write(self, sink: int, packet: bytes) -> None:
        try:
            os.write(sink, packet)
        except BlockingIOError:
            self.lost += 1


def _open_tun(device: str) -> int:
    tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(tun, _SET_NAME, struct.pack("16sH22x", device.encode(), _IS_TUN | _BARE))
    except OSError as error:
        os.close(tun)
        raise ConfigError(f"no TUN device {device}: {error.strerror}") from error
    return tun


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _remove_stale() -> None:
    """Namespaces of processes of ours that were killed before they could."""
    for path in Path("/run/netns").glob(f"{_PREFIX}*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path("/proc", owner).exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True)


async def _run(options: argparse.Namespace) -> None:
    trace = trace_of(options.trace) if options.trace else None
    delay = options.delay if options.delay is not None else trace.delay_s if trace else 0.0
    ended = asyncio.Event()
    stop: Callable[[], None] = ended.set
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    shape = Shape(trace, delay, options.queue)
    async with NamespaceLink(shape, loss=options.loss, seed=options.seed) as link:
        for name, host in (("edge", link.edge), ("cloud", link.cloud)):
            print(f"{name} {host.ip}: {' '.join(host.command('COMMAND...'))}", flush=True)
        await ended.wait()
        report = link.report()
    print(json.dumps(report), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trace", default="", help="of the uplink: a rate, a name or a file")
    parser.add_argument("--delay", type=float, help="seconds one way; default: the trace's")
    parser.add_argument("--queue", type=int, default=QUEUE_BYTES, help="bytes each way")
    parser.add_argument("--loss", type=float, default=0.0, help="share of packets, each way")
    parser.add_argument("--seed", type=int, default=0)
    try:
        asyncio.run(_run(parser.parse_args()))
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
