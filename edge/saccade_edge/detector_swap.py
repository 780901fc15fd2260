"""Another detector for a bundle: copied, tried, and written down in a new manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from saccade.bundle import Bundle, read_fields, write_manifest
from saccade.bundle_files import MAX_MODEL_BYTES, ListedFile, ModelFile, measure
from saccade.errors import BundleError, ConfigError
from saccade.manifest import DetectorSpec
from saccade.manifest_ranges import detector_violations
from saccade.onnx_file import external_data
from saccade.types import U8, Frame, Region
from saccade_edge.detect.model_run import input_size
from saccade_edge.detect.onnx_detector import OnnxDetector, layouts_that_fit
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.source.picture_files import read_picture

FOLDER = "edge"
NAME = f"{FOLDER}/detector.onnx"
RUNTIME = RuntimeSettings(providers=("CPUExecutionProvider",))
NOTE = "was replaced: points and accuracy were measured with the detector before"


@dataclass(frozen=True, slots=True)
class Swap:
    """What the user asks for. ``spec``: its layout "" and its input (0, 0) are to be found out;
    ``licence``: an SPDX expression; ``picture``: where the detector is tried, None: on noise.
    """

    model: Path
    spec: DetectorSpec
    licence: str
    out: Path
    picture: Path | None = None


def swap(bundle: Bundle, wanted: Swap) -> tuple[DetectorSpec, list[Region]]:
    """Write the new bundle; what its detector is, and what it found when it was tried.

    Raises ``ConfigError`` for a folder that exists and for a layout that has to be stated,
    ``BundleError`` for a model that doesn't fit. Then nothing is written.
    """
    out = wanted.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists already")
    model = _measured(wanted.model)
    spec = _complete(model, wanted.spec)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary, "bundle")
        folder.mkdir()
        _write(bundle, folder, model, spec, wanted.licence)
        regions = _try(Bundle.open(folder), wanted.picture)
        if out.exists():
            out.rmdir()
        shutil.move(folder, out)
    return spec, regions


def _measured(path: Path) -> ModelFile:
    """The user's model with its external data, as they are now."""
    path = path.resolve()
    entry = measure(path.parent, path.name)
    file = ListedFile(path.parent, path.name, entry)
    pieces = external_data(file.read(MAX_MODEL_BYTES), path.name)
    beside = {piece.location: measure(path.parent, piece.location) for piece in pieces}
    return ModelFile(file, beside)


def _complete(model: ModelFile, spec: DetectorSpec) -> DetectorSpec:
    """``spec`` with the input's size and the layout, where the model alone says them."""
    if spec.input == (0, 0):
        size = input_size(model, RUNTIME)
        if size is None:
            raise ConfigError(f"{model.name} takes several sizes: state one with --input")
        spec = replace(spec, input=size)
    stated = replace(spec, layout=spec.layout or "yolo-v8")
    if problems := list(detector_violations(stated)):
        raise ConfigError("; ".join(problems))
    if spec.layout:
        return spec
    fits = layouts_that_fit(model, stated, RUNTIME)
    if not fits:
        # Any layout's own message says what the outputs are.
        OnnxDetector(model, stated, RUNTIME)
    if len(fits) != 1:
        raise ConfigError(
            f"the outputs of {model.name} fit {' and '.join(fits)}: state one with --layout"
        )
    return replace(spec, layout=fits[0])


def _write(
    bundle: Bundle, folder: Path, model: ModelFile, spec: DetectorSpec, licence: str
) -> None:
    kept = _kept(bundle)
    for name in kept:
        bundle.listed(name).copy(folder / name)
    files = {name: {"license": bundle.manifest.files[name].license} for name in kept}
    _, beside = model.read()
    for target, file in {NAME: model.file, **{_inside(f.name): f for f in beside}}.items():
        if target in kept:
            raise ConfigError(f"{model.name} needs a file {target}, the bundle has another one")
        file.copy(folder / target)
        files[target] = {"license": licence}
    fields = {k: v for k, v in read_fields(bundle.folder).items() if k not in ("digest", "format")}
    fields |= {"files": files, "detector": _stated(replace(spec, file=NAME))}
    fields["training"] = {**fields.get("training", {}), "detector": f"{NAME} {NOTE}"}
    write_manifest(folder, fields)


def _inside(name: str) -> str:
    return str(PurePosixPath(FOLDER, name))


def _stated(spec: DetectorSpec) -> Mapping[str, Any]:
    return {name: value for name, value in asdict(spec).items() if value is not None}


def _kept(bundle: Bundle) -> list[str]:
    """The bundle's files without those that only its old detector opens."""
    old = bundle.manifest.detector
    if old is None:
        return sorted(bundle.manifest.files)
    others = bundle.manifest.models() - {old.file}
    needed = {file.name for name in others for file in bundle.model(name).read()[1]}
    dropped = {old.file, *(file.name for file in bundle.model(old.file).read()[1])} - needed
    return sorted(set(bundle.manifest.files) - dropped)


def _try(bundle: Bundle, picture: Path | None) -> list[Region]:
    spec = bundle.manifest.detector
    if spec is None:
        raise BundleError(f"bundle {bundle.manifest.name!r} has no detector")
    detector = OnnxDetector(bundle.model(spec.file), spec, RUNTIME)
    seen = _noise() if picture is None else read_picture(picture)
    return detector.find(Frame(seen, 0, "trial", 1), _no_overview)


def _noise() -> U8:
    """A picture that is neither square nor even."""
    return np.random.default_rng(0).integers(0, 256, (270, 480, 3), np.uint8)


def _no_overview() -> Any:  # noqa: ANN401 - never returns
    raise BundleError("this detector needs no overview")
