"""``saccade bundle inspect|verify|pack BUNDLE``, and the commands that other parts bring."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from saccade.bundle import DEMO, Bundle, read_fields, sample_clip
from saccade.bundle_packing import pack
from saccade.manifest import DetectorSpec, Manifest, OperatingPoint
from saccade.paths import expand
from saccade.spec import EncoderSpec, LanguageSpec

# Entry points whose function(parser) adds arguments and sets `run`; they load no heavy package.
GROUP = "saccade.bundle_commands"
SUMMARIES = {"detector": "write a bundle with another detector"}

PACK = "copy a bundle, or the half that an edge needs"
SAMPLE = "print where a bundle's sample clip lies"


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``saccade bundle``."""
    more = {entry.name: entry for entry in entry_points(group=GROUP)}
    commands = parser.add_subparsers(
        metavar="|".join(["inspect", "verify", "pack", "sample", *sorted(more)]), required=True
    )
    sample = commands.add_parser("sample", help=SAMPLE, description=SAMPLE)
    sample.add_argument(
        "bundle", nargs="?", default=DEMO, help="a folder, or a name (default: %(default)s)"
    )
    sample.set_defaults(run=show_sample)
    for name, handler, summary in (
        ("inspect", inspect, "say what a bundle holds"),
        ("verify", verify, "check every file against its SHA-256, and what models open"),
    ):
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("bundle", help="a folder, or the name of an installed bundle")
        command.set_defaults(run=handler)
        if name == "inspect":
            command.add_argument("--json", action="store_true", help="print the manifest itself")
    packing = commands.add_parser("pack", help=PACK, description=PACK)
    packing.add_argument("bundle", help="a folder, or the name of an installed bundle")
    packing.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new folder")
    packing.add_argument("--edge", action="store_true", help="only what an edge needs")
    packing.set_defaults(run=pack_bundle)
    for name, entry in sorted(more.items()):
        summary = SUMMARIES.get(name, "")
        entry.load()(commands.add_parser(name, help=summary, description=summary))


def inspect(arguments: argparse.Namespace) -> int:
    """Print the manifest, for people or as JSON; files are not read."""
    bundle = Bundle.open(arguments.bundle)
    if arguments.json:
        print(json.dumps(read_fields(bundle.folder), indent=2))
        return 0
    for label, text in _lines(bundle):
        print(f"{label:<10} {_printable(text)}")
    return 0


def show_sample(arguments: argparse.Namespace) -> int:
    """The path alone, for ``saccade edge run "$(saccade bundle sample)" ...``."""
    print(sample_clip(Bundle.open(arguments.bundle)))
    return 0


def pack_bundle(arguments: argparse.Namespace) -> int:
    """Copy the files, each checked; the last line says what was written."""
    bundle, out = Bundle.open(arguments.bundle), expand(arguments.out)
    total = pack(bundle, out, edge=arguments.edge)
    half = "the edge's half of " if arguments.edge else ""
    print(f"{out}: {half}{bundle.manifest.name}, {total:,} bytes")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Read every file; the first line says ok, or an error lists what isn't."""
    bundle = Bundle.open(arguments.bundle)
    bundle.verify()
    files, half = bundle.manifest.files, ""
    if bundle.is_edge_half:
        files = {name: files[name] for name in bundle.manifest.edge_files()}
        half = " of the edge's half"
    total = sum(entry.bytes for entry in files.values())
    print(f"ok: {bundle.manifest.name}, {len(files)} files{half}, {total:,} bytes")
    return 0


def _lines(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest, encoder = bundle.manifest, bundle.manifest.encoder
    yield "name", f"{manifest.name} ({manifest.family})"
    yield "domain", manifest.domain
    yield "folder", str(bundle.folder)
    yield "digest", manifest.digest
    yield "", f"{manifest.token_digest} of what a token means"
    yield "views", _views(manifest)
    yield "tokens", _tokens(encoder)
    selection = manifest.selection
    yield "selection", f"{selection.method}, {selection.tokens_per_view} tokens per view"
    yield "codecs", ", ".join(manifest.codecs)
    for number, point in enumerate(manifest.points):
        yield "point", f"{number}{'*' if number == selection.point else ' '} {_point(point)}"
    if selection.point is not None:
        yield "", "* used where nobody chooses a point"
    yield "detector", _detector(manifest.detector) if manifest.detector else "none"
    language, questions = manifest.language, manifest.questions
    yield "language", _language(language)
    if questions.words:
        yield "questions", f"of {len(questions.words)} words; capitals and spaces do not count"
    for example in questions.examples:
        yield "example", _example(example)
    for name, entry in sorted(manifest.files.items()):
        yield "file", f"{name}  {entry.bytes:,} bytes  licence {entry.license}"
    for name, value in _flat(manifest.accuracy):
        yield "accuracy", f"{name}: {value}"


def _views(manifest: Manifest) -> str:
    if manifest.regions is None:
        return "the whole picture"
    return f"1 overview and up to {manifest.most_crops} crops"


def _tokens(encoder: EncoderSpec) -> str:
    geometry = encoder.geometry
    sizes = ", ".join(f"{width} x {height}" for height, width in geometry.inputs)
    return (
        f"{geometry.kind} grid, up to {geometry.most_tokens} per view, {encoder.dim} features "
        f"each; tiles of {sizes} pixels"
    )


def _language(language: LanguageSpec) -> str:
    forms = []
    if language.onnx:
        forms.append(f"ONNX, {language.onnx.layers} layers")
    if language.checkpoint:
        forms.append(f"checkpoint of {language.checkpoint.architecture}")
    what = f"width {language.width}, {language.vocab} words, context {language.max_context}"
    return f"{' or '.join(forms)}; {what}"


def _example(question: str) -> str:
    """As somebody would ask it, about the first crop."""
    return question.replace("{crop}", "1").replace("{closeup}", "1")


def _point(point: OperatingPoint) -> str:
    tokens = point.tokens
    return (
        f"{point.crops} crops, {tokens.overview}/{tokens.crop}/{tokens.closeup} tokens of an "
        f"overview/crop/close-up, {point.codec} in {point.layers} layers: "
        f"{point.bytes:,.0f} bytes, {100 * point.agreement:.1f} % agreement with all tokens"
    )


def _detector(spec: DetectorSpec) -> str:
    height, width = spec.input
    crops = f"; crops of {', '.join(spec.crops)}" if spec.crops else ""
    closeups = f"; close-ups of {', '.join(spec.closeups)}" if spec.closeups else ""
    labels = ", ".join(spec.labels)
    return f"layout {spec.layout}, input {width} x {height}; finds {labels}{crops}{closeups}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Inner objects with the names on the way to them: ("by_type, plate", 0.98)."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}, ")
        elif isinstance(value, list):
            yield f"{prefix}{name}", ", ".join(map(str, value))
        else:
            yield f"{prefix}{name}", value


def _printable(text: str) -> str:
    """A manifest's text could hold commands for the terminal."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
