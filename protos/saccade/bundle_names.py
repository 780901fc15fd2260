"""The names in a manifest that this version must have: codecs and selection methods."""

from __future__ import annotations

from collections.abc import Iterator

from saccade import codecs
from saccade.bounded_json import shown
from saccade.codecs.base import MAX_LAYERS
from saccade.manifest import Manifest, refuse
from saccade.selection import METHODS
from saccade.selection.needs import missing


def check_names(manifest: Manifest) -> None:
    """Raises BundleError that lists what is unknown, or needs what the encoder does not give."""
    refuse([*_selection(manifest), *_codecs(manifest), *_tables(manifest)])


def _selection(manifest: Manifest) -> Iterator[str]:
    method = manifest.selection.method
    if method not in METHODS:
        yield f"selection.method {shown(method)} is unknown"
        return
    lacking = missing(method, manifest.encoder.offers)
    if lacking:
        what = ", ".join(lacking)
        yield f"selection.method {method} needs {what}, which the encoder does not give"


def _codecs(manifest: Manifest) -> Iterator[str]:
    unknown = [name for name in manifest.codecs if name not in codecs.names()]
    if unknown or not manifest.codecs:
        yield f"codecs {shown(unknown)} are unknown" if unknown else "codecs is empty"
    for number, point in enumerate(manifest.points):
        if not 1 <= point.layers <= MAX_LAYERS:
            yield f"points[{number}].layers is {point.layers}, 1..{MAX_LAYERS} are possible"


def _tables(manifest: Manifest) -> Iterator[str]:
    calibrated = set(manifest.codecs) & set(codecs.CALIBRATED)
    tables = set(manifest.codec_tables)
    yield from (f"codecs.{name} has no codec_tables" for name in sorted(calibrated - tables))
    yield from (
        f"codec_tables.{name[:80]} belongs to no calibrated codec in codecs"
        for name in sorted(tables - calibrated)
    )
