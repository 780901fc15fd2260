"""``saccade export train|bundle|clip``: the demo world's model, its bundle, films of the world."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from saccade.errors import ConfigError

WORK = Path("work/crossing")


def register_train(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export train``."""
    parser.add_argument("world", choices=["crossing"], help="what is drawn and asked about")
    parser.add_argument(
        "--work", type=Path, default=WORK, help="checkpoints and data (%(default)s)"
    )
    parser.add_argument("--recipe", choices=["cpu", "gpu"], default="cpu", help="sizes and times")
    parser.add_argument(
        "--stages",
        help="comma-separated, default all: render,detector,encoder,language,registers,blind",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all sizes and times; 0.01 is a smoke test"
    )
    parser.add_argument(
        "--start", type=Path, help="begin with the encoder.pt and language.pt there"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (all cores)")
    parser.set_defaults(run=train)


def register_bundle(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export bundle``."""
    parser.add_argument("out", type=Path, help="the bundle's folder")
    parser.add_argument("--work", type=Path, default=WORK, help="the checkpoints")
    parser.add_argument("--accuracy", type=Path, help="JSON that bench/accuracy.py wrote")
    parser.add_argument(
        "--registers", type=Path, metavar="OUT", help="also write the bundle of learned registers"
    )
    parser.add_argument("--blind", type=Path, help="also write the no-picture baseline there")
    parser.set_defaults(run=bundle)


def register_clip(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export clip``."""
    parser.add_argument("out", type=Path, help="an .mp4 file; the truth goes beside it as .json")
    parser.add_argument("--seed", type=int, default=7, help="of the world")
    parser.add_argument("--seconds", type=float, default=24, help="of the clip")
    parser.set_defaults(run=clip)


def train(options: argparse.Namespace) -> int:
    """Run the stages; what a previous run finished is not done again."""
    from saccade_drawn_world.training import recipe

    stages = tuple(options.stages.split(",")) if options.stages else recipe.STAGES
    if unknown := set(stages) - set(recipe.STAGES):
        raise ConfigError(f"unknown stages {sorted(unknown)}, there are {list(recipe.STAGES)}")
    chosen = recipe.scaled(recipe.RECIPES[options.recipe], options.scale)
    if options.start and not (options.start / "encoder.pt").is_file():
        raise ConfigError(f"{options.start} holds no encoder.pt")
    chosen = replace(chosen, start=options.start)
    if options.threads:
        chosen = replace(chosen, threads=options.threads)
    recipe.run(chosen, options.work, stages)
    return 0


def bundle(options: argparse.Namespace) -> int:
    """Write ONNX files and manifest."""
    import json

    from saccade_drawn_world.bundle_writing import assemble, assemble_registers, write_blind

    work, out = options.work, options.out
    accuracy = json.loads(options.accuracy.read_text()) if options.accuracy else {}
    training = {"command": f"saccade export train crossing --work {work.name}"}
    written = {out: assemble(work, out, accuracy=accuracy, training=training)}
    if beside := options.registers:
        written[beside] = assemble_registers(
            work, beside, beside=out, accuracy={}, training=training
        )
    if options.blind:
        write_blind(work, options.blind)
    for folder, manifest in written.items():
        told = f"{manifest.name} {manifest.digest[:16]}, {len(manifest.files)} files"
        print(f"{folder}: bundle {told}")
    return 0


def clip(options: argparse.Namespace) -> int:
    """Film one clip."""
    from saccade_drawn_world.crossing.clip import write_clip

    truth = write_clip(options.out, options.seed, options.seconds)
    print(f"{options.out} and {truth.name}")
    return 0
