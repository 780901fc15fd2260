"""Ways to send one frame: as tokens, as pictures of the same views, as the whole picture.

An arm takes what the edge saw and gives what the cloud has, with the bytes between them. Every
message is the same protobuf packet with the same header of windows; only its layers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from bench.heldout import EncodedScene, FrameEncoder, over_the_wire, tokens
from bench.pixels import PictureCodec, codecs, cut, decode, mosaic
from saccade.manifest import Manifest, OperatingPoint
from saccade.selection import QUOTAS, allot
from saccade.types import U8, Frame, FrameTokens, TokenGrid
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import ViewsHeader, wire_window
from saccade_calibration.operating_points import reduce

METHODS_AT = (8, 16, 32)  # of 64 tokens
QUOTAS_AT = (4, 8, 16)  # on average
CLOSEUPS_AT = (0, 2, 4, 8, 16)
FRAME_SHARES = (1.0, 0.5)
VIEW_SHARE = 0.5  # of a view's sides, where it is down-sampled


@dataclass(frozen=True)
class Sent:
    """``seen``: with the questions that fit what the cloud has; ``payload``: see ``Result``."""

    seen: EncodedScene
    frame: FrameTokens
    bytes: int
    payload: int


@dataclass
class EncodedViews:
    """The bundles' encoders by name: "ours" is what the edge has, others have other weights."""

    frame_encoders: dict[str, FrameEncoder]
    _grids: dict[tuple[int, str], list[TokenGrid]] = field(default_factory=dict)

    def grids(self, seen: EncodedScene, who: str) -> list[TokenGrid]:
        """What another bundle's encoder makes of the same views."""
        key = (seen.frame.sequence, who)
        if key not in self._grids:
            self._grids = {k: v for k, v in self._grids.items() if k[0] == seen.frame.sequence}
            self._grids[key] = self.frame_encoders[who].encoder.encode(seen.views)
        return self._grids[key]


@dataclass(frozen=True)
class Arm:
    """``family``: arms of one family differ in rate only; ``mind``: whose language side answers."""

    name: str
    family: str
    mind: str
    send: Callable[[EncodedViews, EncodedScene], Sent]


def whole_arm(mind: str) -> Arm:
    """All tokens in float32: what the mind knows from uncompressed pixels."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        frame = _all_tokens(encoded, seen, mind)
        size = sum(view.tokens.features.nbytes for view in frame.views)
        return Sent(seen, frame, size, size)

    return Arm(f"{mind}: all tokens, float32", f"{mind}: uncompressed", mind, send)


def method_arm(method: str, budget: int, codec: str, layers: int | None) -> Arm:
    """Our tokens, ``budget`` of each view chosen by ``method``."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        kept = tokens(seen, budget, method)
        frame, size = over_the_wire(kept, codec, encoded.frame_encoders["ours"].bundle, layers)
        return Sent(seen, frame, size, size)

    return Arm(f"{method} {budget}, {codec}", f"{method}, {codec}", "ours", send)


def quota_arm(quota: str, budget: int, codec: str, layers: int | None) -> Arm:
    """Our tokens, ``budget`` a view on average, shared by ``quota``."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        bundle = encoded.frame_encoders["ours"].bundle
        windows = [view.window for view in seen.views]
        counts = allot(seen.grids, windows, budget * len(windows), method=quota)
        kept = tokens(seen, counts, bundle.manifest.selection.method)
        frame, size = over_the_wire(kept, codec, bundle, layers)
        return Sent(seen, frame, size, size)

    return Arm(f"quota {quota} {budget}, {codec}", f"quota {quota}, {codec}", "ours", send)


def document_arm(near: int, own: OperatingPoint) -> Arm:
    """The bundle's own point but for its close-ups, of which ``near`` tokens are sent; 0: none."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        whole = _all_tokens(encoded, seen, "ours")
        if not near:
            views = tuple(view for view in whole.views if view.closeup_of is None)
            whole = replace(whole, views=views)
        kept = reduce(whole, own.crops, replace(own.tokens, closeup=max(near, 1)))
        bundle = encoded.frame_encoders["ours"].bundle
        frame, size = over_the_wire(kept, own.codec, bundle, own.layers)
        return Sent(seen, frame, size, size)

    return Arm(f"close-ups of {near} tokens", "document mode", "ours", send)


def halved_arm(budget: int, codec: str, layers: int | None) -> Arm:
    """Views down-sampled before they are encoded, then evenly spread tokens."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        frame_encoder = encoded.frame_encoders["ours"]
        views = tuple(replace(v, tiles=_blurred(v.picture)[None]) for v in seen.views)
        kept = tokens(seen, budget, "uniform", frame_encoder.encoder.encode(views))
        frame, size = over_the_wire(kept, codec, frame_encoder.bundle, layers)
        return Sent(seen, frame, size, size)

    return Arm(f"down-sampled {budget}, {codec}", f"down-sampled, {codec}", "ours", send)


def point_arm(mind: str, number: int, point: OperatingPoint) -> Arm:
    """An operating point of a bundle."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        kept = reduce(_all_tokens(encoded, seen, mind), point.crops, point.tokens)
        bundle = encoded.frame_encoders[mind].bundle
        frame, size = over_the_wire(kept, point.codec, bundle, point.layers)
        return Sent(seen, frame, size, size)

    return Arm(f"{mind}: point {number}", f"{mind}: operating points", mind, send)


def vector_arm(codec: str) -> Arm:
    """One pooled vector of each view, as published edge-cloud schemes send it."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        whole = _all_tokens(encoded, seen, "cls")
        frame, size = over_the_wire(
            whole, "f16" if codec == "f32" else codec, encoded.frame_encoders["cls"].bundle
        )
        if codec == "f32":  # as f16, with two more bytes a number and nothing lost
            numbers = sum(view.tokens.features.size for view in whole.views)
            return Sent(seen, whole, size + 2 * numbers, size + 2 * numbers)
        return Sent(seen, frame, size, size)

    return Arm(f"CLS vectors, {codec}", f"CLS vectors, {codec}", "cls", send)


def views_arm(codec: PictureCodec, quality: int, *, one_file: bool, share: float = 1) -> Arm:
    """The same views as pictures, in one file or one file each, at ``share`` of their sides."""
    how = ("mosaic" if one_file else "crops") + ("" if share == 1 else f" at {share:g}")

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        views = [_scaled(view.picture, share) for view in seen.views]
        files = [codec.encode(v, quality) for v in ([mosaic(views)] if one_file else views)]
        pictures = [decode(data) for data in files]
        back = cut(pictures[0], len(views), views[0].shape[:2]) if one_file else pictures
        height, width = seen.views[0].picture.shape[:2]
        shown = [_resized(picture, (width, height)) for picture in back]
        pictured = tuple(replace(v, tiles=p[None]) for v, p in zip(seen.views, shown, strict=True))
        grids = encoded.frame_encoders["pixels"].encoder.encode(pictured)
        header = _header(seen).to_bytes()
        message = pb.FramePacket(sequence=seen.frame.sequence, views=header, layers=files)
        extra = sum(len(f) - codec.payload(f) for f in files)
        frame = tokens(seen, len(grids[0].features), "uniform", grids)
        return Sent(seen, frame, message.ByteSize(), message.ByteSize() - extra)

    return Arm(f"{codec.name} {how} q{quality}", f"{codec.name} {how}", "pixels", send)


def frame_arm(codec: PictureCodec, quality: int, share: float) -> Arm:
    """The whole frame at ``share`` of its size; the cloud detects, crops and encodes."""

    def send(encoded: EncodedViews, seen: EncodedScene) -> Sent:
        data = codec.encode(_scaled(seen.frame.picture, share), quality)
        height, width = seen.frame.size
        back = _resized(decode(data), (width, height))
        frame = Frame(back, seen.frame.captured_ns, seen.frame.camera, seen.frame.sequence)
        there = encoded.frame_encoders["pixels"].encode(frame, seen.scene)
        message = pb.FramePacket(sequence=frame.sequence, layers=[data])
        kept = tokens(there, len(there.grids[0].features), "uniform")
        payload = message.ByteSize() - len(data) + codec.payload(data)
        return Sent(there, kept, message.ByteSize(), payload)

    size = "frame" if share == 1 else f"frame at {share:g}"
    return Arm(f"{codec.name} {size} q{quality}", f"{codec.name} {size}", "pixels", send)


def _all_tokens(encoded: EncodedViews, seen: EncodedScene, mind: str) -> FrameTokens:
    """Ranked by the bundle's own method, so that fewer of them are the first of them."""
    grids = seen.grids if mind == "ours" else encoded.grids(seen, mind)
    method = encoded.frame_encoders[mind].bundle.manifest.selection.method
    return tokens(seen, len(grids[0].features), method, grids)


def _blurred(picture: U8) -> U8:
    height, width = picture.shape[:2]
    return _resized(_scaled(picture, VIEW_SHARE), (width, height))


def _scaled(picture: U8, share: float) -> U8:
    if share == 1:
        return picture
    small = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _resized(picture: U8, size: tuple[int, int]) -> U8:
    """``size``: (width, height)."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _header(seen: EncodedScene) -> ViewsHeader:
    """Where the crops were looking: both sides pay for it alike."""
    height, width = seen.frame.size
    windows = [
        wire_window((x0 / width, y0 / height, x1 / width, y1 / height))
        for x0, y0, x1, y1 in (view.window for view in seen.views)
    ]
    near = tuple(view.closeup_of for view in seen.views if view.closeup_of is not None)
    return ViewsHeader(seen.frame.size, (0,) * len(windows), tuple(windows), near)


def all_arms(manifests: dict[str, Manifest], methods: Sequence[str]) -> list[Arm]:
    """Every arm for which there is a bundle; "ours" must be there."""
    arms = [whole_arm(mind) for mind in manifests]
    arms += token_arms(manifests["ours"], methods)
    for mind in ("ours", "registers"):
        if mind in manifests:
            points = enumerate(manifests[mind].points)
            arms += [point_arm(mind, number, point) for number, point in points]
    if "cls" in manifests:
        arms += [vector_arm("f32"), vector_arm("int8z")]
    if "pixels" in manifests:
        arms += pixel_arms()
    return arms


def token_arms(ours: Manifest, methods: Sequence[str]) -> Iterator[Arm]:
    """Selection methods at the codec of the bundle's own operating point, and raw tokens."""
    own = ours.points[ours.selection.point] if ours.selection.point is not None else None
    codec, layers = (own.codec, own.layers) if own else (ours.codecs[-1], None)
    most = ours.most_tokens
    yield method_arm("uniform", most, "f16", None)
    yield method_arm("uniform", most, codec, layers)
    yield from (method_arm(m, k, codec, layers) for m in methods for k in METHODS_AT)
    yield from (halved_arm(k, codec, layers) for k in METHODS_AT)
    yield from (quota_arm(q, k, codec, layers) for q in QUOTAS for k in QUOTAS_AT)
    yield from (document_arm(near, own) for near in CLOSEUPS_AT if own)


def pixel_arms() -> Iterator[Arm]:
    """Image codecs, of the views in one file and in single ones, and of the frame."""
    for codec in codecs().values():
        for quality in codec.qualities:
            yield views_arm(codec, quality, one_file=True)
            yield views_arm(codec, quality, one_file=True, share=VIEW_SHARE)
        for quality in codec.qualities[:5]:
            yield views_arm(codec, quality, one_file=False)
            yield from (frame_arm(codec, quality, share) for share in FRAME_SHARES)
