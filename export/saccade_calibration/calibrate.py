"""Fits a bundle's codec tables to what its own edge sends of some pictures, and measures its
operating points on some of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from saccade.bundle import MANIFEST, Bundle, Manifest, write_manifest
from saccade.client import EncodeOptions
from saccade.codecs import CALIBRATED, klt_table, rvq_table
from saccade.errors import ConfigError, SourceError
from saccade.manifest import OperatingPoint
from saccade.types import F32, Frame
from saccade_calibration import operating_points as points
from saccade_calibration.distortion import shares_left, warnings
from saccade_calibration.fit_klt import fit_klt, usual_layers
from saccade_calibration.fit_rvq import fit_rvq
from saccade_calibration.fit_usage import fit_usage
from saccade_calibration.principal import Principal, principal
from saccade_calibration.sample_views import SampleView, fitted, of_view
from saccade_cloud.engines import registry
from saccade_cloud.engines.registry import EngineOptions
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source.picture_files import PICTURE_SUFFIXES, is_picture, read_picture
from saccade_edge.stopwatch import Stopwatch

LEAST_TOKENS = 2
_HELD_OUT = 10  # one of so many pictures
_SHOWN = 5  # unreadable pictures that an error names


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """``distortion`` and ``layers`` are klt's, see `fit_klt` and `usual_layers`; ``stages``,
    ``first_entries``, ``entries``, ``stages_per_layer`` and ``seed`` rvq's, see `fit_rvq`.
    ``threads`` 0: every core.
    ``questions`` for the operating points, the bundle's examples where there are none, are asked
    about ``point_pictures`` pictures; ``agreement``: the cheapest point that has it becomes the
    bundle's own. ``engine``: which one answers; ``checkpoints``: folders that it looks in.
    """

    codecs: tuple[str, ...] = ("klt", "rvq")
    distortion: float = 0.1
    layers: int | None = None
    stages: int = 6
    first_entries: int = 8192
    entries: int = 256
    stages_per_layer: int = 1
    seed: int = 0
    threads: int = 0
    questions: tuple[str, ...] = ()
    point_pictures: int = 80
    agreement: float = 0.97
    engine: str = registry.DEFAULT
    checkpoints: tuple[Path, ...] = ()

    def check(self) -> None:
        """Raises ConfigError for what no table can hold."""
        _check("distortion", self.distortion, 1e-6, 0.99)
        _check("layers", self.layers or 1, 1, klt_table.MAX_LAYERS)
        _check("stages", self.stages, 1, rvq_table.MAX_STAGES)
        _check("entries", self.entries, 2, rvq_table.MAX_ENTRIES)
        _check("entries in the first stage", self.first_entries, 2, rvq_table.MAX_ENTRIES)
        _check("stages per layer", self.stages_per_layer, 1, self.stages)
        _check("pictures for operating points", self.point_pictures, 1, 1e6)
        _check("agreement", self.agreement, 0, 1)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What came of it. ``unreadable``: pictures that were left out, and why. ``left``: by codec and
    number of layers, the share of the tokens' variance that is lost; ``warnings``: where that is
    too much.
    """

    manifest: Manifest
    pictures: int
    tokens: int
    unreadable: tuple[tuple[Path, str], ...]
    left: dict[str, tuple[float, ...]]
    warnings: tuple[str, ...]


def calibrate(
    bundle: Bundle, images: Sequence[Path], settings: CalibrationSettings | None = None
) -> Calibrated:
    """Write ``codec/*.bin`` and the manifest of ``bundle``, in place.

    Raises ConfigError for settings out of range, SourceError where no picture can be read.
    """
    settings = settings or CalibrationSettings()
    settings.check()
    paths = list(_pictures(images))
    with Progress(transient=True) as bar:
        seen, unreadable = _see(bundle, paths, settings.threads, bar)
        views, held = held_out(seen)
        features = fitted(views)
        tables = _fit(views, features, settings, bar)
        left = {n: shares_left(CALIBRATED[n](table), held) for n, table in tables.items()}
        pictures = len(paths) - len(unreadable)
        about = {
            "pictures": pictures,
            "tokens": len(features),
            "seed": settings.seed,
            "variance_left": left,
        }
        manifest = _add_tables(bundle, tables, about)
        bad = {path for path, _ in unreadable}
        points = _points(bundle.folder, [p for p in paths if p not in bad], settings, bar)
        if points:
            manifest = _add_points(bundle.folder, points, settings.agreement)
    warned = warnings(left)
    return Calibrated(manifest, pictures, len(features), tuple(unreadable), left, warned)


def held_out(seen: Sequence[list[SampleView]]) -> tuple[list[SampleView], list[SampleView]]:
    """Views by picture to those that tables are fitted to and those that they are judged by: of
    every tenth picture, where there are twenty; else they are the same.
    """
    if len(seen) < 2 * _HELD_OUT:
        views = [view for picture in seen for view in picture]
        return views, views
    fit = [view for n, picture in enumerate(seen) for view in picture if n % _HELD_OUT]
    return fit, [view for picture in seen[::_HELD_OUT] for view in picture]


def _pictures(images: Sequence[Path]) -> Iterator[Path]:
    """Pictures as named; of folders, those that lie in them."""
    for path in images:
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if is_picture(p))
        else:
            yield path


def _see(
    bundle: Bundle, paths: Sequence[Path], threads: int, bar: Progress
) -> tuple[list[list[SampleView]], list[tuple[Path, str]]]:
    """Every view that the edge would send, by picture, and what it could not read."""
    most = bundle.manifest.most_tokens
    runtime = RuntimeSettings(threads=threads)
    pipeline = Pipeline(
        bundle, PipelineSettings(encode=EncodeOptions(tokens_per_view=most), runtime=runtime)
    )
    found: list[list[SampleView]] = []
    unreadable: list[tuple[Path, str]] = []
    for number, path in enumerate(bar.track(paths, description="pictures"), start=1):
        try:
            picture = read_picture(path)
        except SourceError as error:
            unreadable.append((path, error.message))
            continue
        sight = pipeline.encode(Frame(picture, number, "calibration", number), Stopwatch())
        found.append([of_view(view) for view in sight.tokens.views])
    if not found:
        raise SourceError(_nothing(paths, unreadable))
    features = [view.features for views in found for view in views]
    tokens = sum(map(len, features))
    if tokens < LEAST_TOKENS or not all(np.all(np.isfinite(rows)) for rows in features):
        raise SourceError(f"{tokens} tokens, or some that are not finite: nothing to fit")
    return found, unreadable


def _nothing(paths: Sequence[Path], unreadable: Sequence[tuple[Path, str]]) -> str:
    if not paths:
        return f"no picture to calibrate on ({' '.join(sorted(PICTURE_SUFFIXES))})"
    reasons = "; ".join(reason for _, reason in unreadable[:_SHOWN])
    more = f"; and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
    return f"none of {len(paths)} pictures can be read: {reasons}{more}"


def _fit(
    views: Sequence[SampleView], features: F32, settings: CalibrationSettings, bar: Progress
) -> dict[str, bytes]:
    """The tables of each codec."""
    parts = principal(features)  # of wide tokens this takes a while: once for both
    return {name: _table(name, views, features, parts, settings, bar) for name in settings.codecs}


def _table(
    name: str,
    views: Sequence[SampleView],
    features: F32,
    parts: Principal,
    settings: CalibrationSettings,
    bar: Progress,
) -> bytes:
    if name == "klt":
        share = settings.distortion
        layers = settings.layers or usual_layers(features.shape[1])
        return fit_klt(features, distortion=share, layers=layers, parts=parts).to_bytes()
    stages = bar.add_task("rvq stages", total=settings.stages)
    books = fit_rvq(
        features,
        stages=settings.stages,
        first=settings.first_entries,
        entries=settings.entries,
        per_layer=settings.stages_per_layer,
        seed=settings.seed,
        parts=parts,
        done=lambda: bar.advance(stages),
    )
    return fit_usage(books, views).to_bytes()


def _add_tables(bundle: Bundle, tables: dict[str, bytes], about: dict[str, Any]) -> Manifest:
    """The manifest with the tables' files, which are derived from the encoder: its licence."""
    fields = json.loads((bundle.folder / MANIFEST).read_text("utf-8"))
    del fields["digest"], fields["token_digest"]
    (bundle.folder / "codec").mkdir(exist_ok=True)
    licence = bundle.manifest.files[bundle.manifest.encoder.buckets[0].file].license
    for name, table in tables.items():
        file = f"codec/{name}.bin"
        _replace(bundle.folder / file, table)
        fields["files"][file] = {"license": licence}
        fields["codec_tables"] = {**fields.get("codec_tables", {}), name: file}
    fields["codecs"] = list(dict.fromkeys([*fields["codecs"], *tables]))
    # Points were measured with other tables.
    fields.pop("points", None)
    fields["selection"].pop("point", None)
    fields["selection"].pop("flat_from", None)
    training = fields.get("training", {})
    fields["training"] = {**training, "calibration": {**about, "codecs": sorted(tables)}}
    return write_manifest(bundle.folder, fields)


def _points(
    folder: Path, paths: Sequence[Path], settings: CalibrationSettings, bar: Progress
) -> list[OperatingPoint]:
    """None where there is no question to ask."""
    bundle = Bundle.open(folder)
    questions = settings.questions or bundle.manifest.questions.examples
    if not questions:
        return []
    runtime = RuntimeSettings(threads=settings.threads)
    most = bundle.manifest.most_tokens
    pipeline = Pipeline(
        bundle, PipelineSettings(encode=EncodeOptions(tokens_per_view=most), runtime=runtime)
    )
    chosen = paths[:: max(len(paths) // settings.point_pictures, 1)][: settings.point_pictures]
    frames = [
        pipeline.encode(Frame(read_picture(p), 0, points.CAMERA, n), Stopwatch()).tokens
        for n, p in enumerate(bar.track(chosen, description="pictures, all tokens"))
    ]
    task = bar.add_task("operating points", total=1 - points.LEAST_AGREEMENT)
    options = EngineOptions(threads=settings.threads, checkpoints=settings.checkpoints)
    judge = points.Judge(bundle, frames, questions, options, settings.engine)
    try:
        return points.search(judge, bundle, lambda a: bar.update(task, completed=1 - a))
    finally:
        judge.close()


def _add_points(folder: Path, found: Sequence[OperatingPoint], agreement: float) -> Manifest:
    """The manifest with points, the first that agrees enough, else the best, as its own, and the
    one from which agreement is flat.
    """
    fields = json.loads((folder / MANIFEST).read_text("utf-8"))
    del fields["digest"], fields["token_digest"]
    enough = [n for n, point in enumerate(found) if point.agreement >= agreement]
    fields["points"] = [asdict(point) for point in found]
    fields["selection"]["point"] = enough[0] if enough else len(found) - 1
    fields["selection"]["flat_from"] = points.flat_from(found)
    return write_manifest(folder, fields)


def _replace(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def _check(what: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ConfigError(f"{value:g} {what}: {least:g} to {most:g} are possible")
