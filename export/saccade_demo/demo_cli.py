"""``saccade demo`` on the command line."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from types import FrameType

from saccade_demo.show import DemoSettings, show


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade demo``."""
    parser.add_argument(
        "--source", metavar="FILE", help="video, picture or folder (default: the bundle's clip)"
    )
    parser.add_argument(
        "--ask", action="append", default=[], metavar="QUESTION", help="of every frame; repeatable"
    )
    parser.add_argument(
        "--bundle", default="crossing", metavar="PATH|NAME", help="a folder, or an installed one"
    )
    parser.add_argument(
        "--point", type=int, metavar="N", help="operating point (default: the bundle's)"
    )
    point = "(default: as the operating point says)"
    parser.add_argument("--tokens", type=int, metavar="N", help=f"per view {point}")
    parser.add_argument("--codec", metavar="NAME", help=f"of the tokens {point}")
    parser.add_argument("--detector", metavar="NAME", help="default: the bundle's own")
    parser.add_argument("--fps", type=_positive, default=5.0, metavar="N", help="frames a second")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="FOLDER",
        help="for demo.html and summary.json (%(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    # A terminal that closes and a supervisor that stops us end the other processes, too.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    settings = DemoSettings(
        bundle=arguments.bundle,
        source=arguments.source,
        questions=tuple(arguments.ask),
        fps=arguments.fps,
        out=arguments.out,
        edge_options=tuple(_edge_options(arguments)),
    )
    return 0 if show(settings) else 1


def _edge_options(arguments: argparse.Namespace) -> list[str]:
    """Of ``saccade edge run``, which checks them."""
    chosen = {name: getattr(arguments, name) for name in ("point", "tokens", "codec", "detector")}
    return [f"--{name}={value}" for name, value in chosen.items() if value is not None]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
