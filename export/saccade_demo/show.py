"""The demo from start to end: two processes, their events, a table, a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from saccade.bundle import DEMO, Bundle, sample_clip
from saccade.errors import ConfigError, RemoteError
from saccade.files import check_ours, replace
from saccade_demo.clip_frames import Pictures
from saccade_demo.edge_records import parse
from saccade_demo.page import Album, page_begins, write_page
from saccade_demo.processes import Process, address_of, running
from saccade_demo.rows import Rows
from saccade_demo.standing_questions import STANDING, Truth
from saccade_demo.summary import print_summary
from saccade_demo.table import display
from saccade_demo.tally import Tally, Totals

SILENCE_S = 60.0  # an edge that says nothing for so long is stuck
SUMMARY, PAGE = "summary.json", "demo.html"
FORMAT = "saccade demo 1"
SUMMARY_BEGINS = (f'{{\n "format": "{FORMAT}"'.encode(),)
NO_TRUTH = (
    "nobody knows what is right in this source, so no answer is judged and no ratio is claimed"
)
# Asked of the user's own clip when nothing else is.
USUAL_QUESTIONS = ("describe the scene .", "how many vehicles are there ?", "what is vehicle 1 ?")


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """``source`` None: the bundle's clip, or its kin's. ``edge_options``: words for the edge."""

    bundle: str = DEMO
    source: str | None = None
    questions: tuple[str, ...] = ()
    fps: float = 5.0
    out: Path = Path("demo-out")
    edge_options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Plan:
    """Settled: what is watched and what is asked."""

    bundle: Bundle
    source: str
    questions: tuple[str, ...]
    truth: Truth


def show(settings: DemoSettings, console: Console | None = None) -> bool:
    """Run it all; whether every frame was settled.

    Raises ``BundleError``, ``ConfigError``, ``SourceError``, or ``RemoteError`` with what one of
    the processes said when it failed.
    """
    console = console or Console()
    plan = _settle(settings)
    with Pictures(plan.source, settings.fps) as pictures:
        view_size = plan.bundle.manifest.encoder.geometry.inputs[0]
        rows = Rows(pictures, plan.truth, view_size, plan.questions)
        album = Album()
        totals, failure = _watch(plan, settings, rows, album, console)
    if failure and not totals.sent:
        raise RemoteError(failure)
    print_summary(console, totals)
    _write(settings.out, album, totals, plan)
    console.print(f"{settings.out / 'demo.html'} shows frames, regions, kept tokens and answers")
    if failure:
        raise RemoteError(failure)
    return totals.refused == totals.not_in_frame


def check_output(out: Path) -> None:
    """Raises ``ConfigError`` where ``out`` is no folder, or has other programs' files by the names
    of ours.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"the demo's output {out} is no folder")
    check_ours(out / SUMMARY, "the demo's summary", SUMMARY_BEGINS)
    check_ours(out / PAGE, "the demo's page", page_begins())


def _settle(settings: DemoSettings) -> _Plan:
    check_output(settings.out)
    bundle = Bundle.open(settings.bundle)
    source = settings.source or str(sample_clip(bundle))
    truth = Truth.beside(Path(source))
    usual = tuple(each.text for each in STANDING) if truth.known else USUAL_QUESTIONS
    return _Plan(bundle, source, settings.questions or usual, truth)


def _watch(
    plan: _Plan, settings: DemoSettings, rows: Rows, album: Album, console: Console
) -> tuple[Totals, str]:
    """The totals, and what the edge said if it failed."""
    tally = Tally()
    bundle = str(plan.bundle.folder)
    here = ("--listen=127.0.0.1:0", f"--bundle={bundle}", "--drain=1")
    serve = ("cloud", "serve", *here, "--store=memory:")  # a demo leaves no file behind
    with running("cloud", serve) as cloud:
        address = address_of(cloud)
        watch = _edge_words(plan, settings, address)
        with running("edge", watch) as edge, display(console) as table:
            _introduce(console, plan, address)
            for at_s, line in _lines(edge):
                event = parse(line)
                if event is None:
                    continue
                tally.between(at_s)
                for row in rows.take(event):
                    tally.add(row)
                    album.add(row)
                    table.add(row, tally.score)
            failure = edge.failure()
    return tally.totals(rows.skipped), failure


def _introduce(console: Console, plan: _Plan, address: str) -> None:
    name = plan.bundle.manifest.name
    watched = f"{Path(plan.source).name} and asks {len(plan.questions)} questions about each frame"
    console.print(f"trained for {plan.bundle.manifest.domain}", highlight=False, soft_wrap=True)
    if not plan.truth.known:
        console.print(NO_TRUTH, highlight=False, soft_wrap=True)
    console.print(f"a cloud with bundle {name!r} on {address}, an edge that watches {watched}")


def _edge_words(plan: _Plan, settings: DemoSettings, address: str) -> list[str]:
    asked = [f"--ask={question}" for question in plan.questions]
    words = ["edge", "run", "--json", f"--cloud={address}", f"--bundle={plan.bundle.folder}"]
    return [*words, f"--fps={settings.fps:g}", *settings.edge_options, *asked, "--", plan.source]


def _lines(edge: Process) -> Iterator[tuple[float, str]]:
    while line := edge.line(SILENCE_S):
        yield line


def _write(out: Path, album: Album, totals: Totals, plan: _Plan) -> None:
    out.mkdir(parents=True, exist_ok=True)
    source, domain = Path(plan.source).name, plan.bundle.manifest.domain
    about = {"source": source, "questions": plan.questions, "domain": domain}
    text = json.dumps({"format": FORMAT} | totals.to_json() | about, indent=1) + "\n"
    replace(out / SUMMARY, text.encode(), "the demo's summary", SUMMARY_BEGINS, mode=0o666)
    write_page(out / PAGE, album, totals, source, domain)
