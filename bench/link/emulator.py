"""An emulated link between an edge and a cloud: a TCP proxy that needs no root.

    python -m bench.link.emulator --to 127.0.0.1:7860 --trace driving --speed 4 --at "60 reset"

Its first line says where it listens. SIGINT or SIGTERM ends it; its last line is JSON: what has
passed. With ``--commands`` it takes events from its standard input, a line each, as
`bench.link.link_events` writes them. docs/results/links.md says what it emulates and what not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.link.link_events import parse, parse_timed, read_schedule
from bench.link.proxy import LinkProxy, downlink_of
from bench.link.trace_files import shipped, trace_of
from bench.link.wire import QUEUE_BYTES, Shape
from saccade.errors import ConfigError


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    traces = f"a rate (250k, 2M), a file, FILE#RUN, or one of {', '.join(shipped())}"
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT; port 0 chooses one")
    parser.add_argument("--to", required=True, help="HOST:PORT of the cloud")
    parser.add_argument("--trace", default="", help=f"of the uplink; {traces}; default: unshaped")
    parser.add_argument("--down", default="", help="of the downlink, `free`; default: 10 x uplink")
    parser.add_argument("--delay", type=float, help="seconds one way; default: the trace's")
    parser.add_argument("--queue", type=int, default=QUEUE_BYTES, help="bytes each way")
    parser.add_argument("--speed", type=float, default=1.0, help="link seconds a wall second")
    parser.add_argument("--from", type=float, default=0.0, dest="start_s", help="second to begin")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slice", type=int, default=0, help="packets of 1 to so many bytes, both")
    parser.add_argument("--at", action="append", default=[], help='an event: "60 blackhole 10"')
    parser.add_argument("--schedule", type=Path, help="a file of such lines")
    parser.add_argument("--commands", action="store_true", help="events now, from standard input")
    return parser


def _proxy(options: argparse.Namespace) -> LinkProxy:
    trace = trace_of(options.trace) if options.trace else None
    delay = options.delay if options.delay is not None else trace.delay_s if trace else 0.0
    up = Shape(trace, delay, options.queue)
    down = downlink_of(up)
    if options.down:
        down = replace(up, trace=None if options.down == "free" else trace_of(options.down))
    events = [parse_timed(line) for line in options.at]
    if options.schedule:
        events += read_schedule(options.schedule)
    if options.slice:
        events.append(parse(f"slice {options.slice}", options.start_s))
    return LinkProxy(
        options.to, up, down, listen=options.listen, speed=options.speed,
        start_s=options.start_s, seed=options.seed, schedule=events,
    )  # fmt: skip


async def _run(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with _proxy(options) as link:
        print(f"emulating a link to {options.to} on {link.address}", flush=True)
        if options.commands:
            loop.add_reader(sys.stdin.fileno(), _listener(link, ended))
        await ended.wait()
        report = link.report()
    print(json.dumps(report), flush=True)


def _listener(link: LinkProxy, ended: asyncio.Event) -> Callable[[], None]:
    """Reads what is there, whole lines or not; the end of the input ends the link."""
    stdin = sys.stdin.fileno()
    left = b""

    def heard() -> None:
        nonlocal left
        data = os.read(stdin, 65536)
        *lines, left = (left + data).split(b"\n")
        if not data or len(left) > 65536:
            asyncio.get_running_loop().remove_reader(stdin)
            ended.set()
        for line in lines:
            if line.strip():
                _apply(link, line.decode("utf-8", "replace").strip())

    return heard


def _apply(link: LinkProxy, line: str) -> None:
    try:
        parse(line).apply(link)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)


def main() -> None:
    try:
        asyncio.run(_run(_arguments().parse_args()))
    except ConfigError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
