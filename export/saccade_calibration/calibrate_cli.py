"""``saccade export calibrate``: fit a bundle's codecs and measure its operating points."""

from __future__ import annotations

import argparse
from pathlib import Path

from saccade.codecs import CALIBRATED


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade export calibrate``."""
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
        "--layers", type=int, metavar="N",
        help="klt: each layer has a third of the step of the one before (2; 1 for tokens of more "
        "than 256 features)",
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
    parser.add_argument(
        "--engine", default="onnx", metavar="NAME",
        help="what runs the language model for the operating points (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", type=Path, action="append", default=[], metavar="DIR",
        help="where the language model's checkpoint lies, if the bundle has none; repeatable",
    )  # fmt: skip
    parser.set_defaults(run=calibrate)


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
        engine=options.engine,
        checkpoints=tuple(options.checkpoint),
    )
    calibrated = run(Bundle.open(options.bundle), options.images, settings)
    for _, reason in calibrated.unreadable:
        print(f"left out: {reason}")
    for name, left in calibrated.left.items():
        shares = ", ".join(f"{100 * share:.1f}" for share in left)
        print(f"{name}: {shares} % of the variance left, layer by layer")
    for warning in calibrated.warnings:
        print(f"warning: {warning}")
    manifest = calibrated.manifest
    print(
        f"{options.bundle}: {', '.join(settings.codecs)} fitted to {calibrated.tokens:,} tokens of "
        f"{calibrated.pictures} pictures, {len(manifest.points)} operating points; "
        f"bundle {manifest.name} {manifest.digest[:16]}"
    )
    return 0
