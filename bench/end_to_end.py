"""Capture-to-answer time by stage, frames per second and bytes on the wire, between two processes.

An edge process watches the clip and asks one question about each frame; a cloud process answers.
Between them a forwarder counts every byte at the socket. Twice per arm: live (the clip in its own
time: latency without queues of our making), then as fast as it goes (frames per second).
Arms: the bundle's usual selection and codec; all tokens as half floats, the baseline. Beside
them, what the same views weigh as pictures. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from bench.common import quantiles, table
from bench.wiretap import FRAME_HEADER_BYTES, MESSAGE_PREFIX_BYTES, Direction, Wiretap
from saccade.bundle import CLIP, Bundle
from saccade.errors import RemoteError
from saccade.turns import asking
from saccade.v1 import vision_pb2 as pb
from saccade_demo.baselines import QUALITY, Sizes, sizes
from saccade_demo.clip_frames import Pictures
from saccade_demo.edge_records import Sent, parse
from saccade_demo.processes import Process, address_of, running

QUESTION = "how many vehicles are there ?"
STAGES = (
    "turn", "gate", "detect", "views", "encode", "select", "code", "link", "receive", "decode",
    "reconstruct", "queue", "prefill", "decode_tokens",
)  # fmt: skip
SILENCE_S = 60.0


@dataclass
class Run:
    """One watch. Times in milliseconds, a list per stage; ``seconds`` from first to last event.

    The stage ``turn`` is what the edge doesn't know: from capture until the pipeline took the
    frame, and the way of the event to us.
    """

    sent: list[Sent] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    total: list[float] = field(default_factory=list)
    seconds: float = 0.0
    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)

    @property
    def reported(self) -> int:
        """Bytes of all packets, as the edge reports them."""
        return sum(each.packet_bytes for each in self.sent)

    @property
    def expected(self) -> int:
        """What the packets and questions must come to inside DATA frames: each message with its
        tag and length, after gRPC's prefix; hello and bye are not in it.
        """
        packets = [_tagged(each.packet_bytes) for each in self.sent]
        questions = [
            pb.EdgeMessage(
                question=pb.Question(id=n, turns=asking(QUESTION, (each.sequence,)).to_wire()[0])
            ).ByteSize()
            for n, each in enumerate(self.sent, 1)
        ]
        messages = [*packets, *questions]
        return sum(messages) + MESSAGE_PREFIX_BYTES * len(messages)


def watch(bundle: Bundle, clip: str, words: Sequence[str]) -> Run:
    """One edge process and one cloud process, from start to end."""
    found = Run()
    folder = str(bundle.folder)
    # Every frame is to go, however slow the machine is.
    free = ("--store=memory:", "--answer-wait=0")
    serve = ("cloud", "serve", "--listen=127.0.0.1:0", f"--bundle={folder}", *free)
    with running("cloud", serve) as cloud, Wiretap(address_of(cloud)) as tap:
        common = ("edge", "run", "--json", f"--cloud={tap.address}", f"--bundle={folder}")
        asked = (f"--ask={QUESTION}", "--gate=0", *words, clip)
        with running("edge", (*common, *asked)) as edge:
            _follow(edge, found)
            if failure := edge.failure():
                raise RemoteError(failure)
        found.up, found.down = tap.up, tap.down
    return found


def _follow(edge: Process, found: Run) -> None:
    unix_s = time.time() - time.monotonic()
    captured_s: dict[int, float] = {}
    first_s = last_s = 0.0
    while line := edge.line(SILENCE_S):
        at_s, text = line
        record, event = json.loads(text), parse(text)
        if isinstance(event, Sent):
            found.sent.append(event)
            captured_s[event.sequence] = record["captured_ns"] / 1e9 - unix_s
        elif record["event"] == "FrameAnswered":
            _answered(found, record, (at_s - captured_s[record["sequence"]]) * 1e3)
        else:
            continue
        first_s, last_s = first_s or at_s, at_s
    found.seconds = last_s - first_s


def _answered(found: Run, record: dict[str, Any], since_capture_ms: float) -> None:
    stages = {"turn": since_capture_ms - record["total_ms"], **record["stages_ms"]}
    for stage, ms in stages.items():
        found.stages[stage].append(ms)
    found.total.append(since_capture_ms)


def _tagged(packet_bytes: int) -> int:
    """A packet's size as the field of an EdgeMessage: tag, length, content."""
    length = 1 + (packet_bytes > 0x7F) + (packet_bytes > 0x3FFF) + (packet_bytes > 0x1FFFFF)
    return 1 + length + packet_bytes


def pictures_of(run: Run, clip: str, bundle: Bundle, fps: float) -> list[Sizes]:
    """The views of every frame as pictures."""
    view_size = bundle.manifest.encoder.geometry.inputs[0]
    with Pictures(clip, fps) as pictures:
        return [
            sizes(pictures.at(sent.sequence), [v.window for v in sent.views], view_size)
            for sent in run.sent
        ]


def latency_table(runs: dict[str, Run]) -> str:
    """Median and 95th percentile of every stage."""
    columns = {}
    for name, run in runs.items():
        cells = {stage: _pair(run.stages[stage]) for stage in STAGES if stage in run.stages}
        columns[name] = {**cells, "capture to answer": _pair(run.total)}
    return table("live: ms, median / p95", columns, width=22)


def wire_table(runs: dict[str, Run]) -> str:
    """From the bytes that the edge reports to those at the socket."""
    columns = {}
    for name, run in runs.items():
        frames, data = len(run.sent), run.up.payload["DATA"]
        headers = FRAME_HEADER_BYTES * run.up.frames["DATA"]
        columns[name] = {
            "frames": f"{frames}",
            "packets, reported": f"{run.reported:,}",
            "+ tags, questions, gRPC prefixes": f"{run.expected - run.reported:,}",
            "+ hello and bye": f"{data - run.expected:,}",
            "= DATA payload up": f"{data:,}",
            "+ DATA frame headers": f"{headers:,}",
            "+ HTTP/2 control": f"{run.up.control_bytes:,}",
            "= at the socket up": f"{run.up.total:,}",
            "reported a frame": f"{run.reported / frames:,.0f}",
            "at the socket a frame, up": f"{run.up.total / frames:,.0f}",
            "at the socket a frame, down": f"{run.down.total / frames:,.0f}",
            "frames a second": f"{frames / run.seconds:.1f}",
        }
    return table("as fast as it goes: bytes", columns, width=22)


def _pair(values: list[float]) -> str:
    median, p95 = quantiles(values)
    return f"{median:.1f} / {p95:.1f}"


def summary(live: Run, fast: Run) -> dict[str, Any]:
    """What the last line says of one arm."""
    frames = len(fast.sent)
    total = quantiles(live.total)
    return {
        "capture_to_answer_ms": {"median": total[0], "p95": total[1]},
        "stages_ms": {
            stage: dict(zip(("median", "p95"), quantiles(live.stages[stage]), strict=True))
            for stage in STAGES
            if stage in live.stages
        },
        "frames_per_second": round(frames / fast.seconds, 2),
        "packet_bytes": round(fast.reported / frames, 1),
        "socket_bytes_up": round(fast.up.total / frames, 1),
        "socket_bytes_down": round(fast.down.total / frames, 1),
        "overhead_bytes_up": round((fast.up.total - fast.reported) / frames, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--bundle", default="crossing")
    parser.add_argument("--source", help="default: the bundle's clip")
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second, live")
    parser.add_argument("--threads", type=int, default=0, help="of the edge, 0: every core")
    options = parser.parse_args()
    bundle = Bundle.open(options.bundle)
    clip = options.source or str(bundle.folder / CLIP)
    whole = ("--codec=f16", f"--tokens={bundle.manifest.most_tokens}")
    arms = {"usual": (), "all tokens, f16": whole}
    common = (f"--fps={options.fps:g}", f"--threads={options.threads}")
    live = {arm: watch(bundle, clip, (*common, "--live", *words)) for arm, words in arms.items()}
    fast = {arm: watch(bundle, clip, (*common, *words)) for arm, words in arms.items()}
    weights = pictures_of(fast["usual"], clip, bundle, options.fps)
    codecs = {
        f"{codec.lower()}_q{quality}": round(fmean(getattr(w, codec.lower()) for w in weights), 1)
        for codec, quality in QUALITY.items()
    }
    print(latency_table(live), "", wire_table(fast), "", sep="\n")
    print(
        "the same views as pictures, bytes a frame:",
        ", ".join(f"{k} {v:,.0f}" for k, v in codecs.items()),
    )
    record = {arm: summary(live[arm], fast[arm]) for arm in arms}
    print(json.dumps({**record, "pictures_bytes": codecs}))


if __name__ == "__main__":
    main()
