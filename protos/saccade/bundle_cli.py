"""``saccade bundle inspect|verify BUNDLE``."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator

from saccade.bundle import DEMO, MANIFEST, Bundle, sample_clip
from saccade.manifest import OperatingPoint

SAMPLE = "print where a bundle's sample clip lies"


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade bundle``."""
    commands = parser.add_subparsers(metavar="inspect|verify|sample", required=True)
    sample = commands.add_parser("sample", help=SAMPLE, description=SAMPLE)
    sample.add_argument("bundle", nargs="?", default=DEMO, help="(default: %(default)s)")
    sample.set_defaults(run=show_sample)
    for name, handler, summary in (
        ("inspect", inspect, "say what a bundle holds"),
        ("verify", verify, "check every file against its SHA-256"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("bundle", help="a folder, or the name of an installed bundle")
        command.set_defaults(run=handler)
        if name == "inspect":
            command.add_argument("--json", action="store_true", help="print the manifest itself")


def inspect(arguments: argparse.Namespace) -> int:
    """Print the manifest, for people or as JSON; files are not read."""
    bundle = Bundle.open(arguments.bundle)
    if arguments.json:
        print(json.dumps(json.loads((bundle.folder / MANIFEST).read_text("utf-8")), indent=2))
        return 0
    for label, text in _lines(bundle):
        print(f"{label:<10} {text}")
    return 0


def show_sample(arguments: argparse.Namespace) -> int:
    """The path alone, for ``saccade edge run "$(saccade bundle sample)" ...``."""
    print(sample_clip(Bundle.open(arguments.bundle)))
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Read every file; the first line says ok, or an error lists what isn't."""
    bundle = Bundle.open(arguments.bundle)
    bundle.verify()
    total = sum(entry.bytes for entry in bundle.manifest.files.values())
    print(f"ok: {bundle.manifest.name}, {len(bundle.manifest.files)} files, {total:,} bytes")
    return 0


def _lines(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest, encoder = bundle.manifest, bundle.manifest.encoder
    yield "name", f"{manifest.name} ({manifest.family})"
    yield "domain", manifest.domain
    yield "folder", str(bundle.folder)
    yield "digest", manifest.digest
    height, width = encoder.view_size
    grid = " x ".join(map(str, encoder.grid))
    yield "views", f"1 overview and up to {encoder.max_crops} crops of {width} x {height} pixels"
    yield "tokens", f"{math.prod(encoder.grid)} per view ({grid}), {encoder.dim} features each"
    selection = manifest.selection
    yield "selection", f"{selection.method}, {selection.tokens_per_view} tokens per view"
    yield "codecs", ", ".join(manifest.codecs)
    for number, point in enumerate(manifest.points):
        yield "point", f"{number}{'*' if number == selection.point else ' '} {_point(point)}"
    detector = manifest.detector
    yield "detector", f"{detector.layout}: {', '.join(detector.labels)}" if detector else "none"
    language = manifest.language
    yield "language", f"{language.layers} layers of width {language.width}, {language.vocab} words"
    if language.words:
        yield "questions", f"of {len(language.words)} words; capitals and spaces do not count"
    for example in language.examples:
        yield "example", _example(example)
    for name, entry in sorted(manifest.files.items()):
        yield "file", f"{name}  {entry.bytes:,} bytes  {entry.license}"
    for name, value in manifest.accuracy.items():
        yield "accuracy", f"{name}: {value}"


def _example(question: str) -> str:
    """As somebody would ask it, about the first crop."""
    return question.replace("{crop}", "1").replace("{closeup}", "1")


def _point(point: OperatingPoint) -> str:
    tokens = point.tokens
    return (
        f"{point.crops} crops, {tokens.overview}/{tokens.crop}/{tokens.closeup} tokens of an "
        f"overview/crop/close-up, {point.codec} in {point.layers} layers: "
        f"{point.bytes:,.0f} bytes, {100 * point.agreement:.1f} % of answers as from all tokens"
    )
