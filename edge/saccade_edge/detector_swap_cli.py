"""``saccade bundle detector BUNDLE MODEL --labels ... --out NEW``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from saccade import detector_layouts as layouts
from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade.manifest import DetectorSpec

MAX_LABELS_BYTES = 1 << 20
UNKNOWN = "unknown"


def register(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("bundle", help="a folder, or the name of an installed bundle")
    add("model", type=Path, help="the detector, an ONNX file")
    add("--labels", required=True, metavar="FILE|A,B",
        help="the names of the model's classes in their order: a file with one on each line, or "
        "a list with commas")  # fmt: skip
    add("--out", required=True, type=Path, metavar="FOLDER", help="the new bundle")
    add("--layout", metavar="NAME", default="",
        help="what the outputs mean, where their shapes do not say it: "
        f"{', '.join(layouts.LAYOUTS)}")  # fmt: skip
    add("--input", metavar="HxW", help="default: the size that the model states")
    add("--score", type=float, default=0.3, help="least score of a region, default %(default)s")
    add("--iou", type=float, default=0.5,
        help="most overlap of two regions of one label, default %(default)s")  # fmt: skip
    add("--crops", metavar="A,B", help="the labels that get a crop, default all")
    add("--closeups", metavar="A,B", help="the labels that get a close-up, default none")
    add("--licence", default=UNKNOWN, metavar="SPDX", help="of the model, default %(default)s")
    add("--picture", type=Path, help="try the detector on this picture, default: on noise")
    for name, known in layouts.CHOICES.items():
        add(f"--{name}", choices=known, help="default: as the layout says")
    add("--mean", metavar="R,G,B", help="taken from the input, in the unit of --range")
    add("--std", metavar="R,G,B", help="divides the input after that")
    add("--pad", type=int, help="level of the border, 0 to 255, default 114")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the new bundle, and say what it got."""
    bundle, spec = Bundle.open(arguments.bundle), _spec(arguments)
    try:
        from saccade_edge.detector_swap import Swap, swap
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"trying a detector needs the package {error.name!r}: pip install 'saccade-vlm[edge]'"
        ) from error
    wanted = Swap(arguments.model, spec, arguments.licence, arguments.out, arguments.picture)
    spec, regions = swap(bundle, wanted)
    height, width = spec.input
    print(f"wrote     {arguments.out}")
    print(f"detector  layout {spec.layout}, input {width} x {height}, {len(spec.labels)} labels")
    hint = " (state it with --licence)" if arguments.licence == UNKNOWN else ""
    print(f"licence   {arguments.licence}{hint}")
    seen = ", ".join(f"{region.label} {region.score:.2f}" for region in regions[:8]) or "nothing"
    print(f"tried on  {arguments.picture or 'noise'}: found {seen}")
    if bundle.manifest.points or bundle.manifest.accuracy:
        print("note      operating points and accuracy were measured with the detector before")
    return 0


def _spec(arguments: argparse.Namespace) -> DetectorSpec:
    """As the user says. Raises ``ConfigError``."""
    labels = _labels(arguments.labels)
    layout = layouts.canonical(arguments.layout)
    if layout and layout not in layouts.LAYOUTS:
        known = ", ".join(layouts.LAYOUTS)
        raise ConfigError(f"unknown layout {arguments.layout!r}, known are: {known}")
    return DetectorSpec(
        file="",
        layout=layout,
        input=_size(arguments.input) if arguments.input else (0, 0),
        labels=labels,
        score=_share("--score", arguments.score),
        iou=_share("--iou", arguments.iou),
        crops=_chosen("--crops", arguments.crops, labels),
        closeups=_chosen("--closeups", arguments.closeups, labels),
        mean=_three("--mean", arguments.mean),
        std=_three("--std", arguments.std),
        pad=arguments.pad,
        **{name: getattr(arguments, name) for name in layouts.CHOICES},
    )


def _labels(text: str) -> tuple[str, ...]:
    path = Path(text)
    if "," in text or not path.is_file():
        if path.suffix == ".txt":
            raise ConfigError(f"--labels {text}: there is no such file")
        return _listed(text)
    with path.open("rb") as stream:
        content = stream.read(MAX_LABELS_BYTES + 1)
    if len(content) > MAX_LABELS_BYTES:
        raise ConfigError(f"--labels {text}: more than {MAX_LABELS_BYTES} bytes")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"--labels {text} is not UTF-8: {error}") from error
    return tuple(line.strip() for line in lines if line.strip())


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _chosen(option: str, text: str | None, labels: tuple[str, ...]) -> tuple[str, ...]:
    chosen = _listed(text or "")
    if unknown := [name for name in chosen if name not in labels]:
        raise ConfigError(
            f"{option} names {', '.join(unknown[:5])}, which is no label; "
            f"the labels are: {', '.join(labels[:100])}"
        )
    return chosen


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if match is None:
        raise ConfigError(f"--input {text!r} is no size, an example is 384x640 (height, width)")
    return int(match[1]), int(match[2])


def _share(option: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"{option} {value}: 0 to 1 are possible")
    return value


def _three(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        first, second, third = map(float, text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option} {text!r} is not three numbers with commas") from error
    return first, second, third
