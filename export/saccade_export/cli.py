"""``saccade export``: train the demo world's model, write its bundle, film its clip."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from saccade.errors import ConfigError

WORK = Path("work/crossing")


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export``."""
    commands = parser.add_subparsers(metavar="train|bundle|clip", required=True)
    _train_arguments(commands.add_parser("train", help="train a model from scratch; resumes"))
    _bundle_arguments(commands.add_parser("bundle", help="write the bundle of a trained model"))
    _clip_arguments(
        commands.add_parser("clip", help="film a clip of the demo world with its truth")
    )


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", choices=["crossing"])
    parser.add_argument(
        "--work", type=Path, default=WORK, help="checkpoints and data (%(default)s)"
    )
    parser.add_argument("--recipe", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument(
        "--stages", help="comma-separated, default all: render,detector,see,answer,blind"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all sizes and times; 0.01 is a smoke test"
    )
    parser.add_argument("--start", type=Path, help="begin with the see.pt and answer.pt there")
    parser.add_argument("--threads", type=int, help="CPU threads (all cores)")
    parser.set_defaults(run=train)


def _bundle_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the bundle's folder")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--accuracy", type=Path, help="JSON that bench/accuracy.py wrote")
    parser.add_argument("--blind", type=Path, help="also write the no-picture baseline there")
    parser.set_defaults(run=bundle)


def _clip_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="an .mp4 file; the truth goes beside it as .json")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=24)
    parser.set_defaults(run=clip)


def train(options: argparse.Namespace) -> int:
    """Run the stages; what a previous run finished is not done again."""
    from saccade_export.training import recipe

    stages = tuple(options.stages.split(",")) if options.stages else recipe.STAGES
    if unknown := set(stages) - set(recipe.STAGES):
        raise ConfigError(f"unknown stages {sorted(unknown)}, there are {list(recipe.STAGES)}")
    chosen = recipe.scaled(recipe.RECIPES[options.recipe], options.scale)
    if options.start and not (options.start / "see.pt").is_file():
        raise ConfigError(f"{options.start} holds no see.pt")
    chosen = replace(chosen, start=options.start)
    if options.threads:
        chosen = replace(chosen, threads=options.threads)
    recipe.run(chosen, options.work, stages)
    return 0


def bundle(options: argparse.Namespace) -> int:
    """Write ONNX files and manifest."""
    import json

    from saccade_export.assemble import assemble, write_blind

    accuracy = json.loads(options.accuracy.read_text()) if options.accuracy else {}
    manifest = assemble(
        options.work,
        options.out,
        accuracy=accuracy,
        training={"command": f"saccade export train crossing --work {options.work.name}"},
    )
    if options.blind:
        write_blind(options.work, options.blind)
    print(
        f"{options.out}: bundle {manifest.name} {manifest.digest[:16]}, {len(manifest.files)} files"
    )
    return 0


def clip(options: argparse.Namespace) -> int:
    """Film one clip."""
    from saccade_export.crossing.clip import write_clip

    truth = write_clip(options.out, options.seed, options.seconds)
    print(f"{options.out} and {truth.name}")
    return 0
