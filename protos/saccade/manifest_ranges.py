"""Numbers and names of a manifest that fit its schema and can't be what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from saccade import detector_layouts as layouts
from saccade.bounded_json import shown

if TYPE_CHECKING:
    from saccade.manifest import DetectorSpec, Manifest

# Beyond it a number fits neither the wire nor a tensor's shape.
MOST = (1 << 31) - 1
MAX_SIDE_PX = 1 << 14
ASPECTS = ("tile", "free")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def violations(manifest: Manifest) -> Iterator[str]:
    """A sentence for each."""
    for where, number, least, most in _bounds(manifest):
        if not least <= number <= most:
            limit = f"at least {least}" if number < least else f"at most {most}"
            yield f"{where} is {shown(number)}, {limit}"
    for name, entry in manifest.files.items():
        if not _SHA256.fullmatch(entry.sha256):
            yield f"files[{shown(name)}].sha256 is {shown(entry.sha256)}, not 64 hex digits"
        if entry.bytes < 0:
            yield f"files[{shown(name)}].bytes is {entry.bytes}"
    if manifest.regions is not None and manifest.regions.aspect not in ASPECTS:
        known = ", ".join(ASPECTS)
        yield f"regions.aspect {shown(manifest.regions.aspect)} is unknown, known are: {known}"
    if manifest.detector is not None:
        yield from detector_violations(manifest.detector)


def _bounds(manifest: Manifest) -> Iterator[tuple[str, float, float, float]]:
    """(field, its value, the least and the most that are possible)."""
    if manifest.regions is not None:
        yield "regions.max_crops", manifest.regions.max_crops, 0, MOST
        yield "regions.max_closeups", manifest.regions.max_closeups, 0, MOST
        yield "regions.crop_margin", manifest.regions.crop_margin, 0, 100
        yield "regions.closeup_margin", manifest.regions.closeup_margin, 0, 100
        yield "regions.crop_min_px", manifest.regions.crop_min_px, 0, MAX_SIDE_PX
    yield "questions.frames", manifest.questions.frames, 0, MOST
    yield "questions.chars", manifest.questions.chars, 1, MOST
    for number, point in enumerate(manifest.points):
        yield f"points[{number}].bytes", point.bytes, 0, MOST
        yield f"points[{number}].agreement", point.agreement, 0, 1


def detector_violations(spec: DetectorSpec) -> Iterator[str]:
    """A sentence for each, of the detector alone."""
    for name, known in {"layout": tuple(layouts.LAYOUTS), **layouts.CHOICES}.items():
        value = getattr(spec, name)
        if value is not None and value not in known:
            yield f"detector.{name} {shown(value)} is unknown, known are: {', '.join(known)}"
    if spec.layout == "nms-indices" and spec.boxes is None:
        yield "detector.boxes is missing: layout nms-indices does not say how boxes are written"
    numbers = [
        *((f"input[{axis}]", side, 1, MAX_SIDE_PX) for axis, side in enumerate(spec.input)),
        ("score", spec.score, 0, 1),
        ("iou", spec.iou, 0, 1),
        ("pad", spec.pad or 0, 0, 255),
    ]
    for name, number, least, most in numbers:
        if not least <= number <= most:
            yield f"detector.{name} is {number}, {least}..{most} are possible"
    if spec.std is not None and not all(value > 0 for value in spec.std):
        yield f"detector.std is {list(spec.std)}, every value is above 0"
    yield from _labels(spec)


def _labels(spec: DetectorSpec) -> Iterator[str]:
    labels = set(spec.labels)
    if not labels or len(labels) != len(spec.labels) or not all(map(str.strip, spec.labels)):
        yield (
            f"detector.labels are {len(spec.labels)}, of them {len(labels)} different: each is "
            "a name of its own"
        )
    for name in ("crops", "closeups"):
        unknown = [label for label in getattr(spec, name) if label not in labels]
        if unknown:
            yield (
                f"detector.{name} names {', '.join(map(shown, unknown[:5]))}, which is no label; "
                f"the labels are: {', '.join(label[:40] for label in spec.labels[:100])}"
            )
