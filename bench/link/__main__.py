"""One edge, one cloud, real gRPC, an emulated link: what each budget policy makes of it.

    python -m bench.link [--traces PATH ...] [--seconds 180] [--parallel 7] [--rates 0.1,1,20]

For each trace and arm an edge process watches a looped clip at 2 frames a second and asks a
question about each; a cloud process answers; between them is `bench.link.proxy`, in real time.
Arms: the budget policies, an oracle that knows the trace, and the same views as AVIF or JPEG
pictures under the default policy, encoded to tokens in the cloud. A frame is on time if its
answer's first token is at the edge within the deadline after its capture, of all frames captured.
Utility is the agreement of the operating point used (for pictures: accuracy over that of
uncompressed pixels) where on time, else 0. Of each trace, `--seconds` that are like the whole
(0: all of it).

Then, at constant rates, latency of the default policy beside the pictures'. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.link.trace import Trace
from bench.link.trace_files import shipped, traces_of
from bench.link.trial import plot, report
from bench.link.trial.looped import clip_frames
from bench.link.trial.pictures import ACCURACY, measured_points
from bench.link.trial.pool import interruptible, run_all
from bench.link.trial.running import Arm, Setting
from bench.link.trial.stretch import stretch_of
from saccade.bundle import CLIP, Bundle
from saccade.errors import ConfigError, SaccadeError

ARMS = ("fixed", "ewma", "awstream", "robust", "oracle", "AVIF", "JPEG")
RATES = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
MEASURED_FRAMES = 8  # of the clip, for the bytes of pictures


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--traces", action="append", default=[], metavar="PATH",
        help=f"a file, a folder of files or a shipped trace; default: {', '.join(shipped())}",
    )  # fmt: skip
    parser.add_argument("--arms", default=",".join(ARMS), help="default %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="of each trace, 0: all; default %(default)g"
    )
    parser.add_argument("--fps", type=float, default=2.0)
    parser.add_argument("--deadline", type=float, default=2.0, help="seconds")
    parser.add_argument(
        "--rates", default=",".join(f"{rate:g}" for rate in RATES), help="Mbit/s; empty: none"
    )
    parser.add_argument("--rate-seconds", type=float, default=10.0)
    parser.add_argument("--parallel", type=int, default=7, help="trials at a time")
    parser.add_argument(
        "--rate-parallel", type=int, default=2, help="likewise, at constant rates; few, as "
        "milliseconds count there; default %(default)d",
    )  # fmt: skip
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--plot", type=Path, help="draw latency over time of the worst link there")
    return parser


def arms_of(names: Sequence[str], bundle: Bundle, clip: str, fps: float) -> list[Arm]:
    """Raises ``ConfigError`` for an arm that is not there."""
    if unknown := set(names) - set(ARMS):
        raise ConfigError(f"no arm {', '.join(sorted(unknown))}, only {', '.join(ARMS)}")
    frames = clip_frames(clip, 1 / fps)
    step = max(len(frames) // MEASURED_FRAMES, 1)
    return [
        Arm(name, report.DEFAULT, name, tuple(measured_points(bundle, name, frames[::step])))
        if name in ACCURACY
        else Arm(name, name, "", bundle.manifest.points)
        for name in names
    ]


def _run(options: argparse.Namespace) -> None:
    bundle = Bundle.open(options.bundle)
    clip = str(bundle.folder / CLIP)
    setting = Setting(str(bundle.folder), clip, options.fps, options.deadline)
    stretches = [
        stretch_of(name, trace, options.seconds)
        for name, trace in traces_of(options.traces).items()
    ]
    arms = arms_of(options.arms.split(","), bundle, clip, options.fps)
    rates = [float(text) for text in options.rates.split(",") if text]
    print(f"speed 1: a second is a second; {options.fps:g} frames a second, deadline "
          f"{options.deadline:g} s, {options.parallel} trials at a time")  # fmt: skip
    for stretch in stretches:
        spans = ", ".join(f"{begin:.1f}-{end:.1f}" for begin, end in stretch.outages())
        print(f"  {stretch.name}: {stretch.seconds:g} s from {stretch.from_s:g} s, outages "
              f"{spans or 'none'}", flush=True)  # fmt: skip
    over = run_all([(a, s) for s in stretches for a in arms], setting, options.parallel)
    print("", report.policies(over), "", report.links(over), "", sep="\n")
    print(report.impossible(over), "", report.fates(over), "", sep="\n")
    compared = [arm for arm in arms if arm.name in (report.DEFAULT, *ACCURACY)]
    constant = {
        rate: stretch_of(f"{rate:g} Mbit/s", Trace.constant(rate * 1e6, delay_s=0.025),
                         options.rate_seconds)
        for rate in rates
    }  # fmt: skip
    jobs = [(arm, stretch) for stretch in constant.values() for arm in compared]
    at_constant = run_all(jobs, setting, options.rate_parallel)
    at = {r: [t for t in at_constant if t.link == s.name] for r, s in constant.items()}
    if at_constant:
        print(report.rates(at_constant), "", sep="\n")
    record = report.summary(over, at)
    if record["on_time_mean"] is not None:
        print(report.goals(over, at, record), "", sep="\n")
    load, cores = os.getloadavg()[2], os.cpu_count()
    print(f"this machine's load, last 15 minutes: {load:.1f} on {cores} cores")
    if options.plot:
        plot.draw(over, options.plot)
    print(json.dumps(record))


def main() -> None:
    interruptible()
    try:
        _run(_arguments().parse_args())
    except SaccadeError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
