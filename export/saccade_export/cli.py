"""``saccade export``: from checkpoints to bundles, and what other packages of the export bring."""

from __future__ import annotations

import argparse
from importlib.metadata import entry_points

# Entry points whose function(parser) adds arguments and sets `run`; they load no heavy package.
GROUP = "saccade.export_commands"
SUMMARIES = {
    "bundle": "write the bundle of a model that was trained on the demo world",
    "calibrate": "fit a bundle's codecs to what its encoder sees",
    "clip": "film a clip of the demo world with its truth",
    "train": "train a model on the demo world from scratch; resumes",
}


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export``."""
    more = {entry.name: entry for entry in entry_points(group=GROUP)}
    commands = parser.add_subparsers(metavar="|".join(sorted(more)), required=True)
    for name, entry in sorted(more.items()):
        summary = SUMMARIES.get(name, "")
        entry.load()(commands.add_parser(name, help=summary, description=summary))
