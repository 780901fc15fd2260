"""What grows while a cloud and an edge run for as long as you like.

    python -m bench.soak [--minutes 60] [--plot soak.png]

Both processes as a user starts them. The edge plays the bundle's clip over and over as a camera
(`--live`), asks standing questions about every frame, and loses its connection now and then. After
a warm-up (a third of the time, at most ten minutes) the growth of resident memory is fitted by
`bench.slope`, which a few jumps don't bend. In the warm-up many questions come at once: what the
engine takes for its largest batch it may keep, and is not to take while memory is measured.

What leaks grows all the time, while an allocator's steps come and go. So where memory seems to grow
too fast, the watch goes on for as long again as was measured, twice at most (``--again``), and only
the growth of that time counts then.

It fails, with status 1, where a process

- grows by more than 10 MB an hour, and by more than 8 MB while it is measured, each time (less is
  a step or two of an allocator, which would be a steep slope of a short run);
- has more than 4 files or sockets open beyond those after the warm-up;

or where the spool takes more than 64 MB, a question is refused, or no answer comes in the last
third. The last line is JSON: slopes in MB an hour, open files, bytes of the spool (0: there is
none), answers a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

from bench.common import table
from bench.process import bytes_in, descriptors, memory, state_folder
from bench.slope import slope
from bench.wiretap import Wiretap
from saccade import connect_async
from saccade.bundle import CLIP, Bundle
from saccade.errors import NotInFrame, RemoteError
from saccade_demo.processes import Process, address_of, running

QUESTIONS = ("how many vehicles are there ?", "what colour is vehicle 1 ?", "is there a bus ?")
CLIP_S = 24.0
WARM_UP_S = 600.0
SAMPLES = 720  # more would make the fit slow and not better
SILENCE_S = 60.0
SLOPE_LIMIT_MB_H = 10.0
GROWTH_LIMIT_MB = 8.0
MORE_DESCRIPTORS = 4
SPOOL_LIMIT_BYTES = 64 * 10**6
CROWD = 64
CROWDS = (0.5, 0.7, 0.9)  # of the warm-up
PROGRESS_EVERY = 20  # lines of one run


@dataclass(frozen=True, slots=True)
class Sample:
    """``at_s`` since the start; ``answers`` so far."""

    at_s: float
    edge_mb: float
    cloud_mb: float
    edge_fds: int
    cloud_fds: int
    spool_bytes: int
    answers: int


@dataclass(frozen=True, slots=True)
class Findings:
    """What the last line says."""

    rss_slope_edge_mb_h: float
    rss_slope_cloud_mb_h: float
    fds_edge: int
    fds_cloud: int
    spool_bytes: int
    answers_per_s: float


@dataclass
class Tally:
    """What the edge told."""

    frames: int = 0
    answers: int = 0
    lost: int = 0
    refused: list[str] = field(default_factory=list)

    def take(self, record: dict[str, Any]) -> None:
        kind = record["event"]
        self.frames += kind == "FrameSent"
        self.answers += kind == "FrameAnswered"
        self.lost += kind == "ConnectionLost"
        if kind == "Refused" and record["code"] != NotInFrame.code:
            self.refused.append(record["error"])


@dataclass(frozen=True, slots=True)
class Soaked:
    """One run: every sample, when the connection was cut, how long the warm-up was, and from when
    on growth counts.
    """

    samples: tuple[Sample, ...]
    cuts_s: tuple[float, ...]
    tally: Tally
    warm_s: float
    from_s: float

    @property
    def measured(self) -> Sequence[Sample]:
        """The samples after the warm-up."""
        return [sample for sample in self.samples if sample.at_s >= self.warm_s]

    @property
    def growing(self) -> Sequence[Sample]:
        """The samples of which growth counts."""
        return [sample for sample in self.samples if sample.at_s >= self.from_s]


@dataclass(frozen=True, slots=True)
class Running:
    """The two processes and what lies between them; ``address``: the cloud's own."""

    cloud: Process
    address: str
    edge: Process
    tap: Wiretap
    state: Path

    def sample(self, at_s: float, answers: int) -> Sample:
        edge, cloud = self.edge.pid, self.cloud.pid
        return Sample(
            at_s,
            memory(edge).rss_kb / 1024,
            memory(cloud).rss_kb / 1024,
            descriptors(edge),
            descriptors(cloud),
            bytes_in(self.state, "*.spool*"),
            answers,
        )


@contextmanager
def started(bundle: Bundle, options: argparse.Namespace) -> Iterator[Running]:
    """A cloud, a wire and an edge, until the ``with`` statement ends."""
    folder = f"--bundle={bundle.folder}"
    with state_folder() as state:
        longest_s = options.minutes * 60 * (1 + options.again)
        source = looped(bundle.folder / CLIP, state, longest_s)
        serve = ("cloud", "serve", "--listen=127.0.0.1:0", folder, *options.cloud_args.split())
        with running("cloud", serve) as cloud, Wiretap(address := address_of(cloud)) as tap:
            watch = (
                *("edge", "run", str(source), "--live", "--json", "--threads=1", folder),
                *(f"--cloud={tap.address}", f"--fps={options.fps:g}", "--gate=0"),
                *(f"--ask={question}" for question in QUESTIONS),
                *options.edge_args.replace("STATE", str(state)).split(),
            )
            with running("edge", watch) as edge:
                yield Running(cloud, address, edge, tap, state)


def looped(clip: Path, folder: Path, seconds: float) -> Path:
    """A playlist of ``clip`` over and over, a minute longer than ``seconds``, in ``folder``.

    FFmpeg's own format for it; names in it are relative, so the clip lies beside it.
    """
    link = folder / "clip.mp4"
    link.symlink_to(clip.resolve())
    times = int((seconds + 60) / CLIP_S) + 1
    path = folder / "clips.ffconcat"
    path.write_text("\n".join(["ffconcat version 1.0", *repeat(f"file {link.name}", times)]) + "\n")
    return path


class Watch:
    """What was seen of two processes so far. ``seconds``: how long to watch at first."""

    def __init__(self, both: Running, seconds: float, cut_every_s: float) -> None:
        self._both, self._cut_every_s, self.end_s = both, cut_every_s, seconds
        self._interval_s = max(seconds / SAMPLES, 1.0)
        self._started_s = time.monotonic()
        self._next_s, self._next_cut_s = 0.0, cut_every_s
        self._warm_s = self.from_s = min(seconds / 3, WARM_UP_S)
        self._crowds_s = [self._warm_s * share for share in CROWDS]
        self._tally, self._samples, self._cuts_s = Tally(), list[Sample](), list[float]()

    def go_on(self) -> Soaked:
        """Watch until ``end_s``. Raises ``RemoteError`` when the edge ends before, or falls
        silent.
        """
        while (at_s := time.monotonic() - self._started_s) < self.end_s:
            line = self._both.edge.line(SILENCE_S)
            if line is None:
                raise RemoteError(self._both.edge.failure() or "the edge ended before its time")
            self._tally.take(json.loads(line[1]))
            self._process(at_s)
            self._disturb(at_s)
        samples, cuts_s = tuple(self._samples), tuple(self._cuts_s)
        return Soaked(samples, cuts_s, self._tally, self._warm_s, self.from_s)

    def prolong(self) -> None:
        """As long again as growth was measured; only the growth of that time counts then."""
        self.from_s, self.end_s = self.end_s, 2 * self.end_s - self.from_s

    def _process(self, at_s: float) -> None:
        if at_s >= self._next_s:
            self._next_s = at_s + self._interval_s
            self._samples.append(self._both.sample(at_s, self._tally.answers))
            _progress(self._samples, self.end_s)

    def _disturb(self, at_s: float) -> None:
        if self._crowds_s and at_s >= self._crowds_s[0]:
            self._crowds_s.pop(0)
            asyncio.run(_crowd(self._both.address))
        if at_s >= self._next_cut_s:
            self._next_cut_s = at_s + self._cut_every_s
            self._cuts_s.append(at_s)
            self._both.tap.cut()


def soak(watch: Watch, again: int) -> Soaked:
    """Watch; while memory seems to grow, for as long again, at most ``again`` times."""
    run = watch.go_on()
    for _ in range(again):
        growing = growth(run, findings(run))
        if not growing:
            break
        watch.prolong()
        print(*growing, f"watching until minute {watch.end_s / 60:.1f}", sep="\n", flush=True)
        run = watch.go_on()
    return run


async def _crowd(cloud: str) -> None:
    """More questions at once than the engine decodes together."""
    async with connect_async(cloud) as vision:
        (camera,) = await vision.cameras()
        asked = [
            vision.ask_camera(camera.name, QUESTIONS[i % len(QUESTIONS)]) for i in range(CROWD)
        ]
        await asyncio.gather(*asked)


def findings(run: Soaked) -> Findings:
    """Of the time after the warm-up; open files as they were in its last tenth."""
    samples, growing = run.measured, run.growing
    hours = [sample.at_s / 3600 for sample in growing]
    last = samples[-max(len(samples) // 10, 1) :]
    passed_s = samples[-1].at_s - samples[0].at_s
    answers = samples[-1].answers - samples[0].answers
    return Findings(
        round(slope(hours, [s.edge_mb for s in growing]), 2),
        round(slope(hours, [s.cloud_mb for s in growing]), 2),
        int(median(s.edge_fds for s in last)),
        int(median(s.cloud_fds for s in last)),
        max(s.spool_bytes for s in samples),
        round(answers / passed_s, 2) if passed_s else 0.0,
    )


def growth(run: Soaked, found: Findings) -> list[str]:
    """Whose memory grows faster than it may, in words."""
    hours = (run.growing[-1].at_s - run.growing[0].at_s) / 3600
    slopes = {"edge": found.rss_slope_edge_mb_h, "cloud": found.rss_slope_cloud_mb_h}
    return [
        f"the {name} grows by {mb_h:.1f} MB an hour ({mb_h * hours:.1f} MB while it was measured), "
        f"the limit is {SLOPE_LIMIT_MB_H:g}"
        for name, mb_h in slopes.items()
        if mb_h > SLOPE_LIMIT_MB_H and mb_h * hours > GROWTH_LIMIT_MB
    ]


def faults(run: Soaked, found: Findings) -> list[str]:
    """What is over its bound, in words."""
    samples, said = run.measured, growth(run, found)
    first = samples[: max(len(samples) // 10, 1)]
    before = {
        "edge": median(s.edge_fds for s in first),
        "cloud": median(s.cloud_fds for s in first),
    }
    for name, fds in (("edge", found.fds_edge), ("cloud", found.fds_cloud)):
        if fds > before[name] + MORE_DESCRIPTORS:
            said.append(f"the {name} has {fds} files open, {before[name]:g} after the warm-up")
    if found.spool_bytes > SPOOL_LIMIT_BYTES:
        said.append(f"the spool has {found.spool_bytes:,} bytes, limit {SPOOL_LIMIT_BYTES:,}")
    if run.tally.refused:
        said.append(f"{len(run.tally.refused)} refused, the first: {run.tally.refused[0]}")
    if samples[-1].answers == samples[len(samples) * 2 // 3].answers:
        said.append("no answers came in the last third")
    return said


def table_of(run: Soaked, found: Findings) -> str:
    """Both processes side by side."""
    first, last = run.growing[0], run.growing[-1]
    columns = {
        "edge": {
            "MB at first": f"{first.edge_mb:.1f}",
            "MB at the end": f"{last.edge_mb:.1f}",
            "MB an hour": f"{found.rss_slope_edge_mb_h:.1f}",
            "open files": f"{found.fds_edge}",
            "frames sent": f"{run.tally.frames:,}",
            "answers": f"{run.tally.answers:,}",
            "connections cut": f"{len(run.cuts_s)}",
        },
        "cloud": {
            "MB at first": f"{first.cloud_mb:.1f}",
            "MB at the end": f"{last.cloud_mb:.1f}",
            "MB an hour": f"{found.rss_slope_cloud_mb_h:.1f}",
            "open files": f"{found.fds_cloud}",
        },
    }
    return table(f"minutes {run.from_s / 60:.1f} to {last.at_s / 60:.1f}", columns, width=12)


def _progress(samples: Sequence[Sample], seconds: float) -> None:
    """A line now and then, for who waits."""
    now = samples[-1]
    if len(samples) % max(int(SAMPLES / PROGRESS_EVERY), 1) == 1 or len(samples) == 2:
        print(
            f"{now.at_s / 60:6.1f} of {seconds / 60:g} minutes: edge {now.edge_mb:.1f} MB, "
            f"cloud {now.cloud_mb:.1f} MB, {now.edge_fds} and {now.cloud_fds} files, "
            f"{now.answers:,} answers",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second, at most")
    parser.add_argument("--cut-every", type=float, default=45.0, metavar="SECONDS")
    parser.add_argument("--again", type=int, default=2, help="longer, where memory seems to grow")
    parser.add_argument(
        "--edge-args",
        default="--spool=STATE/camera.spool",
        help="more for the edge; STATE is its folder (default: %(default)s)",
    )
    parser.add_argument("--cloud-args", default="", help="more for the cloud")
    parser.add_argument("--plot", type=Path, help="write a picture of it")
    options = parser.parse_args(arguments)
    with started(Bundle.open(options.bundle), options) as both:
        run = soak(Watch(both, options.minutes * 60, options.cut_every), options.again)
    found = findings(run)
    print("", table_of(run, found), sep="\n")
    if options.plot:
        from bench.soak_plot import draw  # matplotlib is not everywhere

        draw(run, options.plot)
    over = faults(run, found)
    print(*(f"FAILED: {fault}" for fault in over), sep="\n")
    print(json.dumps(asdict(found)))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
