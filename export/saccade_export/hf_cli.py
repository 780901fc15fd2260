"""``saccade export hf``: the words and what they do."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and set ``run``."""
    parser.description = (
        "Make a bundle of a Hugging Face checkpoint folder. The language model's weights stay "
        "where they are; no code of the checkpoint is run."
    )
    parser.add_argument("checkpoint", type=Path, help="the folder with config.json")
    parser.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    parser.add_argument("--name", default="", help="of the bundle (default: the folder's name)")
    parser.add_argument(
        "--precision", choices=("f32", "f16", "int8"), default="f32",
        help="of the encoder's weights; f16 computes in half precision, int8 only stores so "
        "(%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--half-scores", action="store_true",
        help="attention scores in the encoder's precision, too (default: float32)",
    )  # fmt: skip
    parser.add_argument(
        "--photos", type=Path, metavar="DIR",
        help="photographs to compare with torch on (default: what installed packages ship)",
    )  # fmt: skip
    parser.add_argument(
        "--pictures", type=int, default=8, metavar="N", help="compare on N of them (%(default)d)"
    )
    parser.add_argument(
        "--tiles",
        type=int,
        default=8,
        metavar="N",
        help="and on N tiles of each size (%(default)d)",
    )
    parser.add_argument("--no-saliency", action="store_true", help="the graph gives none")
    parser.add_argument("--no-keys", action="store_true", help="the graph gives none")
    parser.add_argument(
        "--tokens", type=int, default=0, metavar="N",
        help="kept of a view until calibration chooses (default: a quarter)",
    )  # fmt: skip
    parser.add_argument(
        "--crops", type=int, default=4, metavar="N",
        help="the most regions of a frame; 0: whole pictures only (%(default)d)",
    )  # fmt: skip
    parser.add_argument(
        "--language", choices=("f32", "f16", "int8"),
        help="also write the language model as ONNX graphs, for the engine onnx "
        "(default: it stays in the checkpoint, for the engine transformers)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export, and say what was made."""
    from saccade_export.hf_export import HfExportSettings, export

    settings = HfExportSettings(
        name=options.name,
        precision=options.precision,
        float32_scores=not options.half_scores,
        saliency=not options.no_saliency,
        keys=not options.no_keys,
        photos=options.photos,
        pictures=options.pictures,
        tiles=options.tiles,
        tokens=options.tokens,
        crops=options.crops,
        language=options.language,
    )
    start = time.monotonic()

    def progress(step: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s  {step}", file=sys.stderr, flush=True)

    made = export(options.checkpoint, options.out, settings, progress)
    manifest = made.manifest
    least = min(parity.least for parity in made.parities)
    megabytes = sum(entry.bytes for entry in manifest.files.values()) / 1e6
    print(
        f"{options.out}: bundle {manifest.name} ({manifest.family}, {settings.precision}), "
        f"{len(manifest.files)} files, {megabytes:,.1f} MB; least cosine with torch {least:.6f}; "
        f"token digest {manifest.token_digest[:16]}"
    )
    return 0
