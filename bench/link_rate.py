"""What the emulated link is asked for and what it delivers: rate, delay, lateness.

    python -m bench.link_rate

For each setting a bulk upload and then single bytes there and back. `goodput` is what the far end
receives; `rate` is that with the 52 bytes of headers that each packet has on the link. `late` says
how much later than its trace allows the 95th percentile of bytes arrives, in wall milliseconds:
the part that is the machine's, not the link's. Settings that begin with `ip` are namespaces, where
the kernel's TCP has its own share in what it gets. The last line is JSON.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.common import table
from bench.link.connection import HEADER_BYTES, SEGMENT_BYTES
from bench.link.ends import Sink, echo, ping, send, serving
from bench.link.netns import CLOUD_IP, Host, NamespaceLink, why_not
from bench.link.proxy import LinkProxy
from bench.link.trace import Trace
from bench.link.trace_files import trace_of
from bench.link.wire import Shape

ON_LINK = 1 + HEADER_BYTES / SEGMENT_BYTES
UNSHAPED_BYTES = 100_000_000
PINGS = 20

Arrivals = Sequence[tuple[float, int]]


@dataclass(frozen=True, slots=True)
class Setting:
    """``seconds`` of the link are filled with bytes."""

    trace: str
    delay_s: float
    speed: float = 1.0
    seconds: float = 4.0

    @property
    def name(self) -> str:
        faster = f" at x{self.speed:g}" if self.speed != 1 else ""
        return f"{self.trace or 'unshaped'}, {self.delay_s * 1000:g} ms{faster}"

    @property
    def shape(self) -> Shape:
        return Shape(trace_of(self.trace) if self.trace else None, self.delay_s)

    @property
    def count(self) -> int:
        trace = self.shape.trace
        return int(trace.bytes_by(self.seconds) / ON_LINK) if trace else UNSHAPED_BYTES


@dataclass(frozen=True, slots=True)
class Measured:
    """In the link's own seconds, but ``late_ms`` in the wall's. Rates in Mbit/s."""

    asked: float | None
    rate: float
    goodput: float
    delay_asked_ms: float
    delay_ms: float
    late_ms: float | None


PROXY = (
    Setting("100k", 0.05, seconds=10),
    Setting("250k", 0.05, seconds=10),
    Setting("1M", 0.0),
    Setting("1M", 0.05),
    Setting("1M", 0.3),
    Setting("5M", 0.05),
    Setting("20M", 0.05),
    Setting("50M", 0.05),
    Setting("", 0.0),
    Setting("1M", 0.05, speed=10, seconds=30),
    Setting("5M", 0.05, speed=20, seconds=30),
    *(
        Setting(name, 0.05, speed=30, seconds=180)
        for name in ("driving", "satellite", "step", "subway")
    ),
)
NAMESPACES = (Setting("1M", 0.05, seconds=8), Setting("5M", 0.05), Setting("20M", 0.05))


async def over_proxy(setting: Setting) -> Measured:
    sink, shape, speed = Sink(), setting.shape, setting.speed
    async with serving(sink) as target, LinkProxy(target, shape, speed=speed) as link:
        began = time.monotonic() - link.clock.now() / speed
        await send(link.address, setting.count)
        arrivals = [((moment - began) * speed, count) for moment, count in sink.arrivals]
    # A byte alone and no trace: what is left is the delay.
    shape = Shape(None, setting.delay_s)
    async with serving(echo) as target, LinkProxy(target, shape, speed=speed) as link:
        trips = [seconds * speed for seconds in await ping(link.address, PINGS)]
    return _measured(setting, arrivals, trips)


async def over_ip(setting: Setting) -> Measured:
    async with NamespaceLink(setting.shape) as link:
        cloud = await _start(link.cloud, "sink")
        await asyncio.to_thread(_ask, link.edge, "send", setting.count)
        said, _ = await asyncio.to_thread(cloud.communicate, timeout=60)
        arrivals: Arrivals = json.loads(said)
        cloud = await _start(link.cloud, "echo")
        try:
            trips = json.loads(await asyncio.to_thread(_ask, link.edge, "ping", PINGS))
        finally:
            cloud.kill()
            cloud.communicate()
    return _measured(setting, arrivals, trips)


def _measured(setting: Setting, arrivals: Arrivals, trips: Sequence[float]) -> Measured:
    trace = setting.shape.trace
    (first, begun), (last, received) = arrivals[0], arrivals[-1]
    goodput = (received - begun) * 8 / (last - first) / 1e6
    return Measured(
        asked=_asked(trace, first, last) if trace else None,
        rate=goodput * ON_LINK,
        goodput=goodput,
        delay_asked_ms=setting.delay_s * 1000,
        delay_ms=float(np.median(trips)) / 2 * 1000,
        late_ms=_late_ms(trace, setting, arrivals) if trace else None,
    )


def _asked(trace: Trace, first: float, last: float) -> float:
    """The trace's own mean over the time in which bytes arrived."""
    return (trace.bytes_by(last) - trace.bytes_by(first)) * 8 / (last - first) / 1e6


def _late_ms(trace: Trace, setting: Setting, arrivals: Arrivals) -> float:
    """Against the moments at which the trace lets them pass, counted from the first arrival."""
    first, begun = arrivals[0]
    base = trace.bytes_by(first - setting.delay_s) - begun * ON_LINK
    late = [
        moment - setting.delay_s - trace.when(base + count * ON_LINK) for moment, count in arrivals
    ]
    return float(np.percentile(late, 95)) / setting.speed * 1000


async def _start(host: Host, kind: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment
        _end(host, kind), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    await asyncio.to_thread(process.stdout.readline)
    return process


def _ask(host: Host, kind: str, count: int) -> str:
    command = [*_end(host, kind), str(count)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _end(host: Host, kind: str) -> list[str]:
    return host.command(sys.executable, "-m", "bench.link.ends", kind, f"{CLOUD_IP}:7000")


def _row(found: Measured) -> dict[str, str]:
    return {
        "asked Mbit/s": "-" if found.asked is None else f"{found.asked:.3f}",
        "rate": f"{found.rate:.3f}",
        "goodput": f"{found.goodput:.3f}",
        "asked ms": f"{found.delay_asked_ms:.0f}",
        "delay": f"{found.delay_ms:.1f}",
        "late p95": "-" if found.late_ms is None else f"{found.late_ms:.1f}",
    }


def main() -> None:
    found = {setting.name: asyncio.run(over_proxy(setting)) for setting in PROXY}
    if reason := why_not():
        print(f"not measured between namespaces: {reason}", file=sys.stderr)
    else:
        for setting in NAMESPACES:
            found[f"ip {setting.name}"] = asyncio.run(over_ip(setting))
    rows = {name: _row(each) for name, each in found.items()}
    columns = {title: {name: row[title] for name, row in rows.items()} for title in _TITLES}
    print(table("link", columns, width=14))
    print(json.dumps({name: _record(each) for name, each in found.items()}))


def _record(found: Measured) -> dict[str, float | None]:
    values = {name: getattr(found, name) for name in Measured.__slots__}
    return {name: value and round(value, 4) for name, value in values.items()}


_TITLES = ("asked Mbit/s", "rate", "goodput", "asked ms", "delay", "late p95")


if __name__ == "__main__":
    main()
