"""Pictures to tokens for programs that ask about single pictures."""

from __future__ import annotations

import time
from pathlib import Path

from saccade.bundle import Bundle
from saccade.client.installed_halves import EncodeOptions
from saccade.paths import expand
from saccade.types import U8, Frame, FrameTokens, Timing
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.source.picture_files import as_rgb, decode_picture, read_picture
from saccade_edge.source.uri import local_path
from saccade_edge.stopwatch import Stopwatch

CAMERA = "picture"


class ImageEncoder:
    """Keeps the bundle's models open between pictures. Not for several threads at once."""

    def __init__(self, bundle: Bundle, settings: PipelineSettings | None = None) -> None:
        self._pipeline = Pipeline(bundle, settings)
        self._count = 0

    @property
    def codec(self) -> str:
        """The name of the codec that packets go with."""
        return self._pipeline.plan.codec

    @property
    def layers(self) -> int | None:
        """The most layers that packets carry, None for all."""
        return self._pipeline.plan.layers

    def encode(self, image: U8 | str | Path | bytes) -> tuple[FrameTokens, Timing]:
        """The tokens of a picture file, of a file's bytes or of a uint8 [H, W, 3] RGB array, with
        stage times.

        Raises ``SourceError`` for what is no usable picture.
        """
        watch = Stopwatch()
        with watch.stage("source"):
            picture = _picture(image)
        self._count += 1
        encoded = self._pipeline.encode(Frame(picture, time.time_ns(), CAMERA, self._count), watch)
        return encoded.tokens, watch.timing()


def encode_image(
    bundle: Bundle, image: U8 | str | Path, settings: PipelineSettings | None = None
) -> tuple[FrameTokens, Timing]:
    """One picture; ``ImageEncoder`` serves many without opening the models again."""
    return ImageEncoder(bundle, settings).encode(image)


def open_encoder(bundle: Bundle, options: EncodeOptions) -> ImageEncoder:
    """The edge's half of the SDK. Raises ``ConfigError`` for what the bundle does not allow."""
    settings = PipelineSettings(
        encode=EncodeOptions(
            detector=options.detector,
            method=options.method,
            point=options.point,
            tokens_per_view=options.tokens_per_view,
            codec=options.codec,
            max_crops=options.max_crops,
        ),
        runtime=RuntimeSettings(threads=options.threads),
    )
    return ImageEncoder(bundle, settings)


def _picture(image: U8 | str | Path | bytes) -> U8:
    if isinstance(image, bytes):
        return decode_picture(image, "the picture")
    if isinstance(image, (str, Path)):
        return _read(image)
    return as_rgb(image)


def _read(path: str | Path) -> U8:
    return read_picture(local_path(path) if isinstance(path, str) else expand(path))
