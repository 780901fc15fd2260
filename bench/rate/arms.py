"""Ways to send one frame: as tokens, as pictures of the same views, as the whole picture.

An arm takes what the edge saw and gives what the cloud has, with the bytes between them. Every
message is the same protobuf packet with the same header of windows; only its layers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from bench.heldout import Eye, Seen, over_the_wire, tokens
from bench.pixels import PictureCodec, codecs, cut, decode, mosaic
from saccade.bundle import Bundle
from saccade.nouns import U8, Frame, FrameTokens
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import ViewsHeader, wire_window


@dataclass(frozen=True)
class Sent:
    """``seen``: with the questions that fit what the cloud has; ``payload``: see ``Result``."""

    seen: Seen
    frame: FrameTokens
    bytes: int
    payload: int


@dataclass(frozen=True)
class Sight:
    """The edge's eye, and the cloud's for arms that send pictures, which has its own weights."""

    ours: Eye
    theirs: Eye


@dataclass(frozen=True)
class Arm:
    """``family``: arms of one family differ in rate only; ``mind``: whose language side answers."""

    name: str
    family: str
    mind: str
    send: Callable[[Sight, Seen], Sent]


def token_arm(method: str, budget: int, codec: str, family: str | None = None) -> Arm:
    """Our tokens, chosen by ``method``, ``budget`` of each view."""

    def send(sight: Sight, seen: Seen) -> Sent:
        kept = tokens(seen, budget, method)
        frame, size = over_the_wire(kept, codec, sight.ours.bundle)
        return Sent(seen, frame, size, size)

    return Arm(f"{codec} {method} {budget}", family or f"{codec} {method}", "ours", send)


def views_arm(codec: PictureCodec, quality: int, *, one_file: bool) -> Arm:
    """The same views as pictures, in one file or one file each."""
    how = "mosaic" if one_file else "crops"

    def send(sight: Sight, seen: Seen) -> Sent:
        views = [view.picture for view in seen.views]
        files = [codec.encode(v, quality) for v in ([mosaic(views)] if one_file else views)]
        pictures = [decode(data) for data in files]
        back = cut(pictures[0], len(views), views[0].shape[:2]) if one_file else pictures
        return _seen_anew(sight.theirs, seen, back, files, codec)

    return Arm(f"{codec.name} {how} q{quality}", f"{codec.name} {how}", "theirs", send)


def clean_arm() -> Arm:
    """The views as they are, through the pixel arm's model: what its codecs are held against."""

    def send(sight: Sight, seen: Seen) -> Sent:
        views = [view.picture for view in seen.views]
        return replace(
            _seen_anew(sight.theirs, seen, views, [], None), bytes=sum(v.size for v in views)
        )

    return Arm("views as they are", "views as they are", "theirs", send)


def frame_arm(codec: PictureCodec, quality: int, share: float) -> Arm:
    """The whole frame at ``share`` of its size; the cloud detects, crops and encodes."""

    def send(sight: Sight, seen: Seen) -> Sent:
        data = codec.encode(_scaled(seen.frame.picture, share), quality)
        height, width = seen.frame.size
        back = cv2.resize(decode(data), (width, height), interpolation=cv2.INTER_CUBIC)
        frame = Frame(back, seen.frame.captured_ns, seen.frame.camera, seen.frame.sequence)
        there = sight.theirs.look(frame, seen.scene)
        message = pb.FramePacket(sequence=frame.sequence, layers=[data])
        return _whole(
            there, message.ByteSize(), message.ByteSize() - len(data) + codec.payload(data)
        )

    size = "full" if share == 1 else f"{share:g}"
    return Arm(
        f"{codec.name} frame {size} q{quality}", f"{codec.name} frame {size}", "theirs", send
    )


def _scaled(picture: U8, share: float) -> U8:
    if share == 1:
        return picture
    return np.asarray(
        cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8
    )


def _seen_anew(
    eye: Eye, seen: Seen, views: Sequence[U8], files: Sequence[bytes], codec: PictureCodec | None
) -> Sent:
    """``views`` as the cloud decoded them, encoded there."""
    pictured = tuple(replace(v, picture=p) for v, p in zip(seen.views, views, strict=True))
    there = replace(seen, views=pictured, grids=tuple(eye.encoder.encode(pictured)))
    message = pb.FramePacket(
        sequence=seen.frame.sequence, views=_header(seen).to_bytes(), layers=files
    )
    size = message.ByteSize()
    headers = sum(len(f) - codec.payload(f) for f in files) if codec else 0
    return _whole(there, size, size - headers)


def _whole(seen: Seen, size: int, payload: int) -> Sent:
    places = len(seen.grids[0].features)
    return Sent(seen, tokens(seen, places, "uniform"), size, payload)


def _header(seen: Seen) -> ViewsHeader:
    """Where the crops were looking: both sides pay for it alike."""
    height, width = seen.frame.size
    windows = [
        wire_window((x0 / width, y0 / height, x1 / width, y1 / height))
        for x0, y0, x1, y1 in (view.window for view in seen.views)
    ]
    near = tuple(view.closeup_of for view in seen.views if view.closeup_of is not None)
    return ViewsHeader(seen.frame.size, (0,) * len(windows), tuple(windows), near)


METHODS_AT = (8, 16, 32, 64)
FRAME_SHARES = (1.0, 0.5)


def all_arms(bundle: Bundle, methods: Sequence[str], codec: str) -> list[Arm]:
    """Every arm of the benchmark, the lossless ones first."""
    places = bundle.manifest.limits.tokens_per_view
    arms = [token_arm("uniform", places, "f16", "all tokens"), clean_arm()]
    arms += [token_arm(m, k, codec) for m in methods for k in METHODS_AT if k < places]
    for picture in codecs().values():
        for quality in picture.qualities:
            arms += [views_arm(picture, quality, one_file=one) for one in (True, False)]
            arms += [frame_arm(picture, quality, share) for share in FRAME_SHARES]
    return arms
