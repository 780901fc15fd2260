"""The demo on a terminal: a live table where there is one, plain lines where there isn't."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from saccade_demo.rows import Asked, Row
from saccade_demo.tally import Score

ROWS = 14  # what fits above the totals on 24 lines
EDGE_STAGES = frozenset({"gate", "detect", "views", "encode", "select", "code"})
WIDE = 118  # characters that all columns need; narrower terminals see the others
_NUMBERS = ("frame", "regions", "tokens", "sent", "JPEG", "WebP", "AVIF")
_TIMES = ("edge ms", "link ms", "cloud ms")
_WIDE_ONLY = frozenset({"regions", "JPEG", "WebP", *_TIMES})


class Display(Protocol):
    """Shows rows as they come."""

    def add(self, row: Row, score: Score | None) -> None: ...


@contextmanager
def display(console: Console) -> Iterator[Display]:
    """For as long as the ``with`` statement lasts."""
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, refresh_per_second=8, vertical_overflow="crop") as live:
        yield LiveTable(live)


class LiveTable:
    """The newest rows, and how many answers were right so far."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._rows: deque[dict[str, Text]] = deque(maxlen=ROWS)
        self._count = 0

    def add(self, row: Row, score: Score | None) -> None:
        self._rows.append(_cells(row, picked(row, self._count)))
        self._count += 1
        below = [Text(f"  {score_text(score)}", style="bold")] if score else []
        self._live.update(Group(self._table(), *below))

    def _table(self) -> Table:
        wide = self._live.console.width >= WIDE
        table = Table(box=None, header_style="bold cyan")
        numbers = [name for name in (*_NUMBERS, *_TIMES) if wide or name not in _WIDE_ONLY]
        for name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("question", no_wrap=True)
        table.add_column("answer", no_wrap=True)
        for cells in self._rows:
            table.add_row(*(cells[name] for name in (*numbers, "question", "answer")))
        return table


class Lines:
    """One line a frame, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = 0

    def add(self, row: Row, score: Score | None) -> None:
        asked = picked(row, self._count)
        self._count += 1
        sent = row.sent
        line = (
            f"frame {sent.sequence:>4}  {len(sent.regions)} regions  {sent.tokens:>3} tokens  "
            f"{sent.packet_bytes:>5,} bytes sent  {row.sizes.jpeg:>6,} JPEG  "
            f"{row.sizes.avif:>6,} AVIF"
        )
        said = f"  {asked.question} {asked.answer}{_mark(asked)}" if asked else ""
        self._console.print(line + said, soft_wrap=True, markup=False, highlight=False)


def picked(row: Row, turn: int) -> Asked | None:
    """The question that a row shows: another one each turn, of those that can be judged."""
    judged = [asked for asked in row.asked if asked.right is not None] or list(row.asked)
    return judged[turn % len(judged)] if judged else None


def score_text(score: Score) -> str:
    """As in: 310 of 320 answers right (96.9 %)."""
    share = 100 * score.right / score.judged
    return f"{score.right} of {score.judged} answers right ({share:.1f} %)"


def split_ms(asked: Asked) -> tuple[float, float, float]:
    """Milliseconds on the edge, on the link, in the cloud."""
    stages = asked.reply.stages_ms
    edge = sum(ms for stage, ms in stages.items() if stage in EDGE_STAGES)
    link = stages.get("link", 0.0)
    return edge, link, sum(stages.values()) - edge - link


def _cells(row: Row, asked: Asked | None) -> dict[str, Text]:
    sent, sizes = row.sent, row.sizes
    cells = {
        "frame": Text(str(sent.sequence)),
        "regions": Text(str(len(sent.regions))),
        "tokens": Text(str(sent.tokens)),
        "sent": Text(f"{sent.packet_bytes:,}", style="bold green"),
        "JPEG": Text(f"{sizes.jpeg:,}", style="dim"),
        "WebP": Text(f"{sizes.webp:,}", style="dim"),
        "AVIF": Text(f"{sizes.avif:,}", style="dim"),
    }
    if asked is None:
        return cells | {name: Text("") for name in (*_TIMES, "question", "answer")}
    times = zip(_TIMES, split_ms(asked), strict=True)
    cells |= {name: Text(f"{ms:.0f}") for name, ms in times}
    answer = Text(asked.answer + _mark(asked), style=_style(asked))
    return cells | {"question": Text(asked.question), "answer": answer}


def _mark(asked: Asked) -> str:
    if asked.right is None:
        return ""
    return "  ✓" if asked.right else f"  ✗ {asked.truth}"


def _style(asked: Asked) -> str:
    return {True: "green", False: "red", None: "default"}[asked.right]
