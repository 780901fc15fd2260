"""A Hugging Face checkpoint becomes a bundle: encoder graphs for the edge, a projector, prompt and
tokenizer for the cloud. The language model's weights stay in the checkpoint.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from saccade.bundle import write_manifest
from saccade.errors import ConfigError
from saccade.manifest import Manifest
from saccade.spec.tokens import EncoderOutputs
from saccade.types import F32, U8
from saccade_export import encoder_parity, hf_manifest, photographs
from saccade_export.checkpoint import Checkpoint
from saccade_export.encoder_export import (
    Normalise,
    PixelEncoder,
    export_encoder,
    export_per_token,
)
from saccade_export.encoder_parity import Parity
from saccade_export.families import base
from saccade_export.families.base import Bucket, FamilyAdapter
from saccade_export.graph_weights import Precision, WeightsFile

Progress = Callable[[str], None]


@dataclass(frozen=True)
class HfExportSettings:
    """``precision`` of the encoder; ``float32_scores``: its attention scores in float32 whatever
    that is; ``saliency`` and ``keys``: whether the graph gives them; ``photos``: a folder, None:
    what packages ship; ``pictures``: the most that are compared, ``tiles``: and of each size;
    ``tokens``: of a view where
    nothing is calibrated, 0: a quarter; ``crops``: the most regions of a frame; ``language``: how
    the language model is stored as ONNX graphs, None: it stays in the checkpoint alone.
    """

    name: str = ""
    precision: Precision = "f32"
    float32_scores: bool = True
    saliency: bool = True
    keys: bool = True
    photos: Path | None = None
    pictures: int = 8
    tiles: int = encoder_parity.MOST_TILES
    tokens: int = 0
    crops: int = 4
    language: Precision | None = None


@dataclass(frozen=True)
class HfExport:
    """What was written, and how near it is to torch for each size of tile."""

    manifest: Manifest
    parities: tuple[Parity, ...]


def export(folder: Path, out: Path, settings: HfExportSettings, progress: Progress) -> HfExport:
    """Write the bundle. ``progress`` is told of each step.

    Raises ``BundleError`` for a checkpoint that is incomplete or of no known family, and where the
    exported encoder is not the model's; ``out`` then has no manifest and is no bundle.
    """
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty")
    checkpoint = Checkpoint(folder)
    adapter = base.adapter(checkpoint)
    progress(
        f"{adapter.name}: {checkpoint.weight_bytes / 1e6:,.0f} MB of weights in "
        f"{len(checkpoint.weight_files)} files"
    )
    pictures = photographs.load(settings.photos, settings.pictures)
    made = Encoders(adapter, settings, out, progress)
    vectors = _from_model(checkpoint, adapter, made, pictures)
    parities = made.compare()
    onnx = None
    if settings.language is not None:
        progress(f"writing the language model as graphs, {settings.language}")
        onnx = hf_manifest.onnx_language(checkpoint, adapter, out, settings.language)
    progress("hashing the checkpoint's files")
    fields = hf_manifest.fields(checkpoint, adapter, out, settings.name or folder.name, onnx)
    fields |= hf_manifest.encoder_fields(adapter, made.outputs, settings.tokens, settings.crops)
    fields["files"] = hf_manifest.files(checkpoint, out, vectors)
    manifest = write_manifest(out, fields)
    return HfExport(manifest, parities)


def _from_model(
    checkpoint: Checkpoint, adapter: FamilyAdapter, made: Encoders, pictures: list[U8]
) -> Mapping[str, F32]:
    """Everything that needs the weights; they are gone when this returns."""
    made.progress("loading the vision half")
    model: Any = checkpoint.vision()
    projector = adapter.projector(model)
    if projector is not None:
        made.progress("writing the projector")
        hf_manifest.write_projector(projector, adapter, made.out, export_per_token)
    vectors = {
        name: vector.detach().float().numpy() for name, vector in adapter.separators(model).items()
    }
    made.write(model, pictures)
    return vectors


class Encoders:
    """The encoder's graphs: written one by one, then compared with what torch gave."""

    def __init__(
        self, adapter: FamilyAdapter, settings: HfExportSettings, out: Path, progress: Progress
    ) -> None:
        self.adapter, self.settings, self.out = adapter, settings, out
        self.progress = progress
        self.outputs = EncoderOutputs()
        self._references: list[tuple[Bucket, U8, F32]] = []

    def write(self, model: nn.Module, pictures: list[U8]) -> None:
        """All graphs, and what torch computes of the pictures."""
        adapter, settings = self.adapter, self.settings
        geometry, spec = adapter.geometry(), adapter.preprocess()
        normalise = Normalise(spec.scale, spec.mean, spec.std)
        encoders = []
        for bucket in adapter.buckets():
            tower = adapter.tower(model, bucket)
            encoder = PixelEncoder(
                tower,
                normalise,
                float32_scores=settings.float32_scores,
                saliency=settings.saliency,
                keys=settings.keys,
            )
            tiles = encoder_parity.tiles_of(pictures, geometry, spec, bucket.size, settings.tiles)
            self.progress(f"{hf_manifest.shown(bucket)}: torch on {len(tiles)} tiles")
            self._references.append((bucket, tiles, encoder_parity.expected(encoder, tiles)))
            encoders.append((bucket, encoder))
        if settings.precision == "f16":
            model.half()
            for _, encoder in encoders:
                encoder.tower.half()
        names: tuple[str, ...] = ()
        with closing(WeightsFile(self.out / hf_manifest.WEIGHTS)) as weights:
            for bucket, encoder in encoders:
                self.progress(f"{hf_manifest.shown(bucket)}: writing the graph")
                path = self.out / hf_manifest.graph_file(bucket, adapter.buckets())
                names = export_encoder(encoder, bucket.size, path, weights, settings.precision)
        self.outputs = EncoderOutputs(
            saliency="saliency" if "saliency" in names else None,
            keys="keys" if "keys" in names else None,
        )

    def compare(self) -> tuple[Parity, ...]:
        """Raises ``BundleError`` where a graph is not the model's."""
        gc.collect()
        parities = []
        for bucket, tiles, features in self._references:
            path = self.out / hf_manifest.graph_file(bucket, self.adapter.buckets())
            parity = encoder_parity.compare(path, tiles, features, bucket.size)
            self.progress(f"parity {parity}")
            parities.append(parity)
        encoder_parity.require(parities, self.settings.precision)
        return tuple(parities)
