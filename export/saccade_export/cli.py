"""``saccade export``: train the demo world's model, write its bundle, calibrate any, film clips."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from saccade.codecs import CALIBRATED
from saccade.errors import ConfigError

WORK = Path("work/crossing")


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export``."""
    commands = parser.add_subparsers(metavar="train|bundle|calibrate|clip", required=True)
    _train_arguments(commands.add_parser("train", help="train a model from scratch; resumes"))
    _bundle_arguments(commands.add_parser("bundle", help="write the bundle of a trained model"))
    _calibrate_arguments(
        commands.add_parser("calibrate", help="fit a bundle's codecs to what its encoder sees")
    )
    _clip_arguments(
        commands.add_parser("clip", help="film a clip of the demo world with its truth")
    )


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", choices=["crossing"], help="what is drawn and asked about")
    parser.add_argument(
        "--work", type=Path, default=WORK, help="checkpoints and data (%(default)s)"
    )
    parser.add_argument("--recipe", choices=["cpu", "gpu"], default="cpu", help="sizes and times")
    parser.add_argument(
        "--stages",
        help="comma-separated, default all: render,detector,see,answer,registers,blind",
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all sizes and times; 0.01 is a smoke test"
    )
    parser.add_argument("--start", type=Path, help="begin with the see.pt and answer.pt there")
    parser.add_argument("--threads", type=int, help="CPU threads (all cores)")
    parser.set_defaults(run=train)


def _bundle_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, help="the bundle's folder")
    parser.add_argument("--work", type=Path, default=WORK, help="the checkpoints")
    parser.add_argument("--accuracy", type=Path, help="JSON that bench/accuracy.py wrote")
    parser.add_argument(
        "--registers", type=Path, metavar="OUT", help="also write the bundle of learned registers"
    )
    parser.add_argument("--blind", type=Path, help="also write the no-picture baseline there")
    parser.set_defaults(run=bundle)


def _calibrate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="a folder, or the name of an installed bundle; is changed")
    parser.add_argument(
        "images", type=Path, nargs="+", help="pictures and folders of them; hundreds are better"
    )
    parser.add_argument(
        "--codec", action="append", choices=list(CALIBRATED), help="repeatable, default all"
    )
    parser.add_argument(
        "--distortion", type=float, default=0.1, metavar="SHARE",
        help="klt: squared error of the base layer as a share of the variance (%(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--layers", type=int, default=2, metavar="N",
        help="klt: each layer has a third of the step of the one before (%(default)d)",
    )  # fmt: skip
    parser.add_argument("--stages", type=int, default=6, metavar="N", help="rvq (%(default)d)")
    parser.add_argument(
        "--first-entries", type=int, default=8192, metavar="N",
        help="rvq: of the first codebook, fewer where pictures are few (%(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--entries", type=int, default=256, metavar="N", help="rvq: of the others (%(default)d)"
    )
    parser.add_argument(
        "--stages-per-layer", type=int, default=1, metavar="N", help="rvq (%(default)d)"
    )
    parser.add_argument("--seed", type=int, default=0, help="rvq: of k-means (%(default)d)")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="0: every core")
    parser.add_argument(
        "--ask", action="append", default=[], metavar="QUESTION",
        help="for the operating points, repeatable; {crop} stands for each crop's number, "
        "{closeup} for that of each crop with a close-up "
        "(default: the bundle's examples)",
    )  # fmt: skip
    parser.add_argument(
        "--point-pictures", type=int, default=80, metavar="N",
        help="operating points are measured on N of the pictures (%(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--agreement", type=float, default=0.97, metavar="SHARE",
        help="the cheapest point whose answers agree so often with those from all tokens "
        "becomes the bundle's own (%(default)g)",
    )  # fmt: skip
    parser.set_defaults(run=calibrate)


def _clip_arguments(parser: argparse.ArgumentParser) -> None:
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


def calibrate(options: argparse.Namespace) -> int:
    """Fit codec tables and add them to the bundle."""
    from saccade.bundle import Bundle
    from saccade_calibration.calibrate import CalibrationSettings
    from saccade_calibration.calibrate import calibrate as run

    settings = CalibrationSettings(
        codecs=tuple(dict.fromkeys(options.codec or CALIBRATED)),
        distortion=options.distortion,
        layers=options.layers,
        stages=options.stages,
        first_entries=options.first_entries,
        entries=options.entries,
        stages_per_layer=options.stages_per_layer,
        seed=options.seed,
        threads=options.threads,
        questions=tuple(options.ask),
        point_pictures=options.point_pictures,
        agreement=options.agreement,
    )
    calibrated = run(Bundle.open(options.bundle), options.images, settings)
    for _, reason in calibrated.unreadable:
        print(f"left out: {reason}")
    manifest = calibrated.manifest
    print(
        f"{options.bundle}: {', '.join(settings.codecs)} fitted to {calibrated.tokens:,} tokens of "
        f"{calibrated.pictures} pictures, {len(manifest.points)} operating points; "
        f"bundle {manifest.name} {manifest.digest[:16]}"
    )
    return 0


def clip(options: argparse.Namespace) -> int:
    """Film one clip."""
    from saccade_drawn_world.crossing.clip import write_clip

    truth = write_clip(options.out, options.seed, options.seconds)
    print(f"{options.out} and {truth.name}")
    return 0
