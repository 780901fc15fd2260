"""The rival pipeline: the same views as one picture of an image codec, encoded to tokens in the
cloud. Its qualities are operating points, and the same budget chooses among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bench.pixels import PictureCodec, codecs, cut, decode, mosaic
from saccade.bundle import Bundle
from saccade.errors import ConfigError, PacketError
from saccade.limits import Limits, check
from saccade.manifest import OperatingPoint, TokensByKind
from saccade.selection import select
from saccade.types import Frame, FrameTokens, TokenGrid, View, ViewTokens
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import ViewsHeader, wire_window
from saccade_edge.encode import Encoder
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import PipelineSettings, Plan
from saccade_edge.stopwatch import Stopwatch

NS_PER_MS = 1_000_000
# AVIF at libaom's speed 8: about a twentieth of the time that `bench.pixels` gives it, for 3 to 13%
# more bytes and 0.4 to 0.9 dB less (six mosaics). Its accuracy is taken to be the slower one's.
LIVE = {"AVIF": (("speed", 8), ("max_threads", 1))}
# Percent of all questions right at each of `bench.pixels.codecs`' qualities, one mosaic, 500
# held-out frames (docs/results/rate-accuracy.md). That model knows 95.8 from uncompressed pixels.
UNCOMPRESSED = 95.8
ACCURACY: Mapping[str, tuple[float, ...]] = {
    "JPEG": (73.2, 84.4, 90.8, 93.2, 94.5, 95.0, 95.6),
    "AVIF": (86.8, 89.4, 91.2, 93.1, 94.0, 95.1, 95.7),
}


def live_codec(name: str) -> PictureCodec:
    """As a camera would run it, in step with its frames."""
    codec = codecs()[name]
    return replace(codec, options=LIVE.get(name, codec.options))


def measured_points(bundle: Bundle, name: str, frames: Sequence[Frame]) -> list[OperatingPoint]:
    """A point for each quality of the codec ``name``, its bytes the mean of ``frames``' packets.

    ``layers`` is the quality's number from 1: what a point says of layers says it here of quality.
    ``agreement`` is accuracy over that of uncompressed pixels.
    """
    codec, manifest = live_codec(name), bundle.manifest
    finder = Pipeline(bundle, PipelineSettings())
    seen = [
        (frame, finder.find(frame, Stopwatch(), finder.plan, _no_overview)[1]) for frame in frames
    ]
    whole = TokensByKind.alike(manifest.most_tokens)
    return [
        OperatingPoint(
            crops=manifest.most_crops,
            tokens=whole,
            codec=manifest.codecs[-1],
            layers=number,
            bytes=round(fmean(_packet(f, v, codec, quality).ByteSize() for f, v in seen), 1),
            agreement=round(accuracy / UNCOMPRESSED, 4),
        )
        for number, (quality, accuracy) in enumerate(
            zip(codec.qualities, ACCURACY[name], strict=True), 1
        )
    ]


def with_points(bundle: Bundle, points: Sequence[OperatingPoint]) -> Bundle:
    """The bundle as a budget sees it that chooses among these points."""
    selection = replace(bundle.manifest.selection, point=len(points) // 2)
    manifest = replace(bundle.manifest, points=tuple(points), selection=selection)
    return Bundle(bundle.folder, manifest)


class PicturePipeline(Pipeline):
    """Gate, detector and views are the daemon's; no vision encoder runs here."""

    def __init__(self, bundle: Bundle, settings: PipelineSettings, codec: PictureCodec) -> None:
        super().__init__(bundle, settings)
        self._picture_codec = codec

    def process(self, frame: Frame, *, plan: Plan | None = None) -> FrameResult:
        """See `Pipeline.process`; ``plan.layers`` is the number of the quality."""
        plan = plan or self.plan
        watch = Stopwatch()
        with watch.stage("gate"):
            verdict = self.gate.judge(frame)
        if verdict.kind == "skip":
            return FrameResult(frame, verdict, watch.timing())
        _, views = self.find(frame, watch, plan, _no_overview)
        codec = self._picture_codec
        with watch.stage("code"):
            packet = _packet(frame, views, codec, codec.qualities[(plan.layers or 1) - 1])
            packet.captured_ms = frame.captured_ns // NS_PER_MS - self.settings.epoch_unix_ms
            packet.camera = self.settings.camera_index
        return FrameResult(frame, verdict, watch.timing(), packet=packet)


def _no_overview() -> TokenGrid:
    raise ConfigError("this detector asks for tokens, and nothing here makes them")


def _packet(
    frame: Frame, views: Sequence[View], codec: PictureCodec, quality: int
) -> pb.FramePacket:
    height, width = frame.size
    windows = [
        wire_window((x0 / width, y0 / height, x1 / width, y1 / height))
        for x0, y0, x1, y1 in (view.window for view in views)
    ]
    near = tuple(view.closeup_of for view in views if view.closeup_of is not None)
    header = ViewsHeader(frame.size, (0,) * len(windows), tuple(windows), near)
    data = codec.encode(mosaic([view.picture for view in views]), quality)
    return pb.FramePacket(sequence=frame.sequence, views=header.to_bytes(), layers=[data])


def tokens_of(
    packet: pb.FramePacket,
    limits: Limits,
    encoder: Encoder,
    *,
    camera: str,
    epoch_unix_ms: int,
) -> FrameTokens:
    """In the cloud: decode the picture, cut it into views, encode them; every token of each view.

    Raises ``PacketError`` and ``LimitExceeded`` for what `PicturePipeline` does not write.
    """
    check("bytes in a packet", packet.ByteSize(), limits.message_bytes)
    header, geometry = ViewsHeader.from_bytes(packet.views, limits), limits.geometry
    if len(packet.layers) != 1:
        raise PacketError(f"one picture, not {len(packet.layers)} layers")
    sheet = decode(packet.layers[0])
    (size,) = geometry.inputs
    pictures = cut(sheet, len(header.counts), size)
    if any(picture.shape[:2] != size for picture in pictures):
        raise PacketError(f"a picture of {sheet.shape} does not hold {len(header.counts)} views")
    layout, crops = geometry.layout(size), header.crops
    nears = (*(None,) * (1 + crops), *header.closeups)
    views = [
        View(kind, window, picture[None], layout, closeup_of=near)
        for kind, window, picture, near in zip(
            header.kinds, header.windows, pictures, nears, strict=True
        )
    ]
    kept = [
        select(grid, limits.tokens_per_view, method="uniform") for grid in encoder.encode(views)
    ]
    return FrameTokens(
        sequence=packet.sequence,
        camera=camera,
        captured_ns=(packet.captured_ms + epoch_unix_ms) * NS_PER_MS,
        size=header.size,
        views=tuple(
            ViewTokens(slot, view.window, tokens, closeup_of=view.closeup_of)
            for slot, (view, tokens) in enumerate(zip(views, kept, strict=True))
        ),
    )
