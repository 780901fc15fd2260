"""The last words of a run, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from saccade_demo.baselines import FRAME_QUALITY, QUALITY
from saccade_demo.table import EDGE_STAGES, score_text
from saccade_demo.tally import Totals

_NAMES = {
    "jpeg": f"the same views as JPEG (quality {QUALITY['JPEG']})",
    "webp": f"the same views as WebP (quality {QUALITY['WEBP']})",
    "avif": f"the same views as AVIF (quality {QUALITY['AVIF']})",
    "frame_jpeg": f"the whole frame as JPEG (quality {FRAME_QUALITY})",
    "frame_raw": "the whole frame, raw pixels",
}


def print_summary(console: Console, totals: Totals) -> None:
    """Answers by kind, bytes against the codecs, time by stage."""
    console.print()
    console.print(_answers(totals), highlight=False, soft_wrap=True)
    if totals.by_kind:
        console.print(_kinds(totals))
    console.print(_weights(totals))
    for line in _times(totals):
        console.print(line, highlight=False, soft_wrap=True)


def _answers(totals: Totals) -> str:
    said = [f"{totals.answers} answers"]
    said += [f"{totals.not_in_frame} about what a frame does not show"] * (totals.not_in_frame > 0)
    refused = totals.refused - totals.not_in_frame
    said += [f"{refused} refused"] * (refused > 0)
    score = f"; {score_text(totals.score)}" if totals.score else ""
    return ", ".join(said) + score


def _kinds(totals: Totals) -> Table:
    table = Table(box=None, header_style="bold cyan")
    table.add_column("kind of question")
    table.add_column("right", justify="right")
    table.add_column("of", justify="right")
    for kind, score in sorted(totals.by_kind.items()):
        table.add_row(kind, str(score.right), str(score.judged))
    return table


def _weights(totals: Totals) -> Table:
    """With ratios only where answers were judged: fewer bytes mean nothing if they are wrong."""
    judged = totals.score is not None
    table = Table(box=None, header_style="bold cyan")
    table.add_column("bytes a frame, mean")
    table.add_column("bytes", justify="right")
    if judged:
        table.add_column("times ours", justify="right")
    ours = [f"sent: {totals.tokens:.0f} tokens", f"{totals.packet_bytes:,.0f}"]
    table.add_row(*ours, *(["1.0"] if judged else []))
    for field, name in _NAMES.items():
        weight = totals.pictures_bytes[field]
        times = f"{weight / totals.packet_bytes:,.1f}" if totals.packet_bytes else "-"
        table.add_row(name, f"{weight:,.0f}", *([times] if judged else []))
    return table


def _times(totals: Totals) -> Iterator[str]:
    edge = {s: ms for s, ms in totals.stages_ms.items() if s in EDGE_STAGES}
    rest = {s: ms for s, ms in totals.stages_ms.items() if s not in EDGE_STAGES}
    yield f"edge, mean ms an answer:  {_listed(edge)}"
    yield f"then:                     {_listed(rest)}"
    yield (
        f"{totals.frames} frames ({totals.sent} sent) in {totals.seconds:.1f} s: "
        f"{totals.fps:.1f} frames a second, {totals.answers / max(totals.seconds, 0.01):.0f} "
        "answers a second"
    )


def _listed(stages: dict[str, float]) -> str:
    return ", ".join(f"{stage} {ms:.1f}" for stage, ms in stages.items())
