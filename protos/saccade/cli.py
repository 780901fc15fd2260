"""The command line: ``saccade COMMAND ...``.

Every command is an entry point of the group ``saccade.commands``, so that edge, cloud and export
bring their own without being imported here: ``saccade --help`` reads only installed metadata and
the summaries below, and a command's module is loaded when the command is named.

Exit status: 0 done, 1 an error said in one line, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, NoReturn

from saccade.errors import ConfigError, SaccadeError
from saccade.logs import make_output_safe
from saccade.redaction import remember_words, scrub

GROUP = "saccade.commands"
OURS = "SACCADE_"  # variables of the environment

# What our own commands do, and the extra that brings what they import. Commands of other
# distributions are listed with the distribution's name.
SUMMARIES: Mapping[str, tuple[str, str]] = {
    "demo": ("a cloud and an edge on the sample clip, with a live table", "demo"),
    "ask": ("ask a question about one picture", "edge"),
    "edge": ("watch a source and send what it shows to a cloud", "edge"),
    "cloud": ("receive tokens and answer questions", "cloud"),
    "bundle": ("inspect or verify a bundle", ""),
    "export": ("train a model, turn a checkpoint into a bundle", "export"),
}

# What only a part of a command imports comes with an extra of its own.
EXTRAS: Mapping[str, str] = {"ultralytics": "detector"}

Handler = Callable[[argparse.Namespace], int]


class _Help(argparse.HelpFormatter):
    """Adds the default to every option that has one and does not name it itself."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        silent = action.default in (None, False, [], argparse.SUPPRESS) or "default" in text
        return text if silent else f"{text} (default %(default)s)".strip()


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same one line as all others, help with defaults."""

    def __init__(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        super().__init__(*words, **{"formatter_class": _Help, **options})

    def error(self, message: str) -> NoReturn:
        print(f"saccade: error: {scrub(message)} (see {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or bool(os.environ.get("SACCADE_DEBUG"))
    words = [word for word in words if word != "--debug"]
    # gRPC writes a line of its own for every handshake that it refuses, without saying whose.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    make_output_safe()
    remember_words([*words, *(os.environ[name] for name in os.environ if name.startswith(OURS))])
    try:
        return _run(words)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `saccade ... | head`: the reader has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SaccadeError, OSError) as error:
        if debug:
            raise
        print(f"saccade: error: {_one_line(error)}", file=sys.stderr)
        return 1


def _run(words: Sequence[str]) -> int:
    commands = {entry.name: entry for entry in entry_points(group=GROUP)}
    parser = _top_parser(commands)
    top = parser.parse_args(words[:1])
    if top.command is None:
        parser.print_help()
        return 0
    entry = commands[top.command]
    parser = _Parser(prog=f"saccade {entry.name}", description=_summary(entry))
    try:
        return _run_command(entry, parser, words[1:])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = EXTRAS.get(missing) or SUMMARIES.get(entry.name, ("", ""))[1]
        hint = f": pip install 'saccade-vlm[{extra}]'" if extra else ""
        raise ConfigError(
            f"'saccade {entry.name}' needs the package {error.name!r}, which is not installed{hint}"
        ) from error


def _run_command(entry: EntryPoint, parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Load the command's module, let it fill ``parser``, and run the handler that it set."""
    entry.load()(parser)
    arguments = parser.parse_args(words)
    handler: Handler | None = getattr(arguments, "run", None)
    if handler is None:
        parser.error("a subcommand is missing")
    return handler(arguments)


def _top_parser(commands: Mapping[str, EntryPoint]) -> argparse.ArgumentParser:
    lines = [f"  {name:<10}{_summary(commands[name])}" for name in _listed(commands)]
    parser = _Parser(
        prog="saccade",
        usage="saccade [-h] [--version] [--debug] COMMAND ...",
        description="Edge-cloud split inference for vision-language models.",
        epilog="\n".join(["commands:", *lines, "", "`saccade COMMAND --help` says more."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"saccade {version('saccade-vlm')}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "command", nargs="?", choices=_listed(commands), metavar="COMMAND", help="see below"
    )
    return parser


def _listed(commands: Mapping[str, EntryPoint]) -> list[str]:
    """Our own commands in the order of use, then others by name."""
    own = [name for name in SUMMARIES if name in commands]
    return own + sorted(set(commands) - set(own))


def _summary(entry: EntryPoint) -> str:
    if entry.name in SUMMARIES:
        return SUMMARIES[entry.name][0]
    return f"(from {entry.dist.name})" if entry.dist else ""


def _one_line(error: Exception) -> str:
    text = scrub(" ".join(str(error).split()))
    return text or type(error).__name__
