"""``saccade edge``: watching on the command line."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from saccade.bundle import Bundle, named_or_demo
from saccade.logs import log_to_stderr, print_line
from saccade.paths import expand
from saccade_edge.daemon import run
from saccade_edge.event_lines import spool_record, to_line, to_record
from saccade_edge.spool.spool_inspection import look_into, report_lines
from saccade_edge.status_cli import register_status
from saccade_edge.watch_arguments import add_watch_arguments, source_of, watch_settings
from saccade_edge.watch_events import Event


def register(parser: argparse.ArgumentParser) -> None:
    """Add the subcommands of ``saccade edge``."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    watch = commands.add_parser("run", help="watch a source and send what it shows to a cloud")
    watch.add_argument(
        "source", nargs="?", default=None, metavar="SOURCE",
        help="video file, picture, folder, rtsp:// or v4l2:// (default: the variable "
        "SACCADE_SOURCE)",
    )  # fmt: skip
    watch.add_argument(
        "--cloud", required=True, metavar="HOST:PORT", help="where `saccade cloud serve` listens"
    )
    watch.add_argument(
        "--bundle", metavar="PATH|NAME", help="one of the cloud's (default: the demo's)"
    )
    watch.add_argument("--ask", action="append", default=[], metavar="QUESTION", help="repeatable")
    watch.add_argument("--json", action="store_true", help="one JSON object per event")
    add_watch_arguments(watch)
    watch.set_defaults(run=_run)
    register_status(commands)
    spool = commands.add_parser("spool", help="what a spool holds, also while an edge uses it")
    spool.add_argument("path", type=Path, metavar="PATH", help="the spool's file")
    spool.add_argument("--json", action="store_true", help="one JSON object")
    spool.set_defaults(run=_show_spool)


def _run(arguments: argparse.Namespace) -> int:
    log_to_stderr(logging.WARNING)
    arguments.source = source_of(arguments)
    bundle = Bundle.open(named_or_demo(arguments.bundle))
    _introduce(bundle, as_json=arguments.json)
    summary = run(
        bundle,
        watch_settings(arguments),
        _print_record if arguments.json else _print_line,
    )
    # What a spool still holds is not lost: the next run sends it.
    kept = summary.complete or summary.spool is not None
    return 0 if kept and summary.refused == summary.not_in_frame else 1


def _introduce(bundle: Bundle, *, as_json: bool) -> None:
    """Say once what the answers can be about."""
    name, domain = bundle.manifest.name, bundle.manifest.domain
    if as_json:
        print(json.dumps({"event": "Started", "bundle": name, "domain": domain}), flush=True)
    else:
        print(f"bundle {name}, trained for {domain}", flush=True)


def _show_spool(arguments: argparse.Namespace) -> int:
    report, waiting = look_into(expand(arguments.path))
    if arguments.json:
        groups = [asdict(group) for group in waiting]
        print(json.dumps({**spool_record(report), "waiting": groups}))
    else:
        print("\n".join(report_lines(report, waiting)))
    return 0


def _print_line(event: Event) -> None:
    if line := to_line(event):
        print_line(line)


def _print_record(event: Event) -> None:
    if record := to_record(event):
        print_line(json.dumps(record))
