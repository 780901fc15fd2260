"""How many edges one cloud process bears: packets a second, acknowledgement time, memory a stream.

    python -m bench.streams [--edges 1,10,100,1000] [--rounds 3] [--seconds 4]

`saccade cloud serve` with the shipped bundle, and edges in processes of their own: real gRPC, one
connection each, real packets of the sample clip (see `bench.simulated`). Beside it, in the same
round, a bare gRPC server with the same messages (`bench.simulated.echo`): the difference is ours.

Each round starts both servers anew for each number of edges. They connect at a bounded rate and
say nothing while memory is read: `idle kB` is the growth of resident memory since before, a stream.
Then they send on a schedule (open loop) at one rate after the other, up to the first that isn't
sustained: 99 of 100 packets acknowledged within 250 ms of when they were due. Figures are medians
over rounds; `late` is how much of the acknowledgement time passed before the packet was handed to
gRPC, in the processes of the edges; `CPU` is the server's, of one core.

The last line is JSON of the last number of edges: `packets_per_s`: the highest rate that was
sustained, `ack_p99_ms` at that rate, `idle_stream_kb`; `baseline`: the same of the bare server.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, median_low

from bench.common import percentile, table
from bench.process import memory, processor_s, state_folder
from bench.simulated.edge_processes import Fleet, fleet
from bench.simulated.edges import Crew, Heard
from bench.simulated.packets import packets_of_clip
from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade_demo.processes import Process, address_of, running
from saccade_edge.plan import PipelineSettings

GOAL_RATE_HZ = 500.0
RATES_HZ = (GOAL_RATE_HZ, 1000.0, 1500.0, 2000.0, 3000.0)
ACK_LIMIT_MS = 250.0
RAMP_HZ = 200.0
SETTLE_S = 1.5  # connections' last buffers and timers, before memory is read
PACKETS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One rate. Packets that weren't acknowledged count as infinitely late."""

    rate_hz: float
    acked_hz: float
    ack_p50_ms: float
    ack_p99_ms: float
    late_p99_ms: float
    cpu_us: float  # of the server, a packet

    @property
    def sustained(self) -> bool:
        return self.ack_p99_ms <= ACK_LIMIT_MS


@dataclass(frozen=True, slots=True)
class Trial:
    """One server and its edges, once."""

    idle_kb: float
    idle_private_kb: float
    active_kb: float  # after all steps
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """Of several trials."""

    packets_per_s: float
    ack_p99_ms: float
    idle_stream_kb: float


def step_of(rate_hz: float, seconds: float, heard: Heard, cpu_s: float, sent: float) -> Step:
    """``sent``: packets that ``cpu_s`` were used for, those of the warm-up included."""
    missing = heard.offered - len(heard.ack_ms)
    acks_ms = [*heard.ack_ms, *(float("inf") for _ in range(missing))]
    return Step(
        rate_hz,
        len(heard.ack_ms) / seconds,
        percentile(acks_ms, 50),
        percentile(acks_ms, 99),
        percentile(heard.late_ms, 99),
        cpu_s / sent * 1e6,
    )


def try_out(process: Process, crew: Crew, options: argparse.Namespace) -> Trial:
    """Connect, be idle, be active, leave."""
    edges = len(crew.numbers)
    with fleet(crew, options.processes) as connected:
        before = memory(process.pid)
        connected.connect()
        time.sleep(SETTLE_S)
        idle = memory(process.pid)
        steps = tuple(_steps(process, connected, options))
        active = memory(process.pid)
        connected.leave()
    return Trial(
        (idle.rss_kb - before.rss_kb) / edges,
        (idle.private_kb - before.private_kb) / edges,
        (active.rss_kb - before.rss_kb) / edges,
        steps,
    )


def _steps(process: Process, connected: Fleet, options: argparse.Namespace) -> list[Step]:
    steps: list[Step] = []
    for rate_hz in options.rates:
        cpu_s = processor_s(process.pid)
        heard = connected.bear(rate_hz, options.warm, options.seconds)
        cpu_s = processor_s(process.pid) - cpu_s
        sent = rate_hz * (options.warm + options.seconds)
        steps.append(step_of(rate_hz, options.seconds, heard, cpu_s, sent))
        if not steps[-1].sustained:
            break
    return steps


def warm_up(address: str, bundle: Bundle, packets: Sequence[bytes]) -> None:
    """One edge comes, talks and goes: what a server loads once is no stream's."""
    crew = Crew(address, bundle.token_digest, tuple(packets), range(1), RAMP_HZ)
    with fleet(crew, 1) as connected:
        connected.connect()
        connected.bear(GOAL_RATE_HZ, 0, 1.0)
        connected.leave()


def best(trials: Sequence[Trial]) -> Figures:
    """The highest rate that the median trial sustained; 0 where it sustained none."""
    rates = [max((s.rate_hz for s in t.steps if s.sustained), default=0.0) for t in trials]
    rate_hz = median_low(rates)
    at = [s for t in trials for s in t.steps if s.rate_hz == (rate_hz or GOAL_RATE_HZ)]
    return Figures(
        round(median(s.acked_hz for s in at), 1) if rate_hz else 0.0,
        round(median(s.ack_p99_ms for s in at), 1),
        round(median(t.idle_kb for t in trials), 1),
    )


def table_of(trials: Sequence[Trial], bare: Sequence[Trial], head: str) -> str:
    """Rows per rate, the cloud beside the bare server."""
    columns: dict[str, dict[str, str]] = {}
    for name, those in (("saccade", trials), ("bare gRPC", bare)):
        cells: dict[str, str] = {
            "idle kB a stream": f"{median(t.idle_kb for t in those):.1f}",
            "of it private": f"{median(t.idle_private_kb for t in those):.1f}",
            "kB a stream, after load": f"{median(t.active_kb for t in those):.1f}",
        }
        rates = sorted({s.rate_hz for t in those for s in t.steps})
        for rate_hz in rates:
            at = [s for t in those for s in t.steps if s.rate_hz == rate_hz]
            cells |= _cells(f"{rate_hz:,.0f}/s", at)
        columns[name] = cells
    return table(head, columns, width=12)


def _cells(rate: str, steps: Sequence[Step]) -> dict[str, str]:
    def middle(value: Callable[[Step], float]) -> float:
        return median(map(value, steps))

    return {
        f"{rate}: acknowledged a second": f"{middle(lambda s: s.acked_hz):.0f}",
        f"{rate}: ack p50 ms": f"{middle(lambda s: s.ack_p50_ms):.1f}",
        f"{rate}: ack p99 ms": f"{middle(lambda s: s.ack_p99_ms):.1f}",
        f"{rate}: late p99 ms": f"{middle(lambda s: s.late_p99_ms):.1f}",
        f"{rate}: CPU us a packet": f"{middle(lambda s: s.cpu_us):.0f}",
    }


def measure(
    bundle: Bundle, packets: Sequence[bytes], edges: int, options: argparse.Namespace
) -> tuple[Trial, Trial]:
    """One round: our cloud, then the bare server."""
    folder = str(bundle.folder)
    serve = ("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={folder}")
    commands = {
        "saccade": ((*serve, *options.cloud_args.split()), "saccade"),
        "bare gRPC": ((f"--bundle={folder}",), "bench.simulated.echo"),
    }
    trials = []
    for name, (words, module) in commands.items():
        with running(name, words, module) as process:
            address = address_of(process)
            warm_up(address, bundle, packets)
            crew = Crew(address, bundle.token_digest, tuple(packets), range(edges), RAMP_HZ)
            trials.append(try_out(process, crew, options))
    return trials[0], trials[1]


def run(options: argparse.Namespace) -> dict[str, object]:
    """Print the tables; what the last line says."""
    bundle = Bundle.open(options.bundle)
    packets = packets_of_clip(
        bundle, PACKETS, PipelineSettings(encode=EncodeOptions(codec=options.codec))
    )
    print(f"packets of {', '.join(str(len(packet)) for packet in packets)} bytes", flush=True)
    found: dict[str, object] = {}
    for edges in options.edges:
        with state_folder():
            rounds = [measure(bundle, packets, edges, options) for _ in range(options.rounds)]
        ours, bare = [pair[0] for pair in rounds], [pair[1] for pair in rounds]
        print("", table_of(ours, bare, f"edges: {edges:,}"), sep="\n", flush=True)
        found = {"edges": edges, **asdict(best(ours)), "baseline": asdict(best(bare))}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--codec", help="default: as the bundle's operating point")
    parser.add_argument("--edges", type=_numbers(int), default=[1, 10, 100, 1000], metavar="N,...")
    parser.add_argument("--rates", type=_numbers(float), default=RATES_HZ, metavar="HZ,...")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each rate")
    parser.add_argument("--warm", type=float, default=1.0, help="seconds before, not measured")
    # What one device may send is not what is measured: a single edge is to fill the gateway.
    parser.add_argument(
        "--cloud-args",
        default="--device-messages 100000",
        help="more for the cloud (default: %(default)s)",
    )
    parser.add_argument("--processes", type=int, default=2, help="that the edges live in")
    print(json.dumps(run(parser.parse_args(arguments))))


def _numbers(kind: Callable[[str], float]) -> Callable[[str], list[float]]:
    return lambda text: [kind(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
