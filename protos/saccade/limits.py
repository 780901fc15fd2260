"""What two ends agree to accept from each other, checked before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saccade.errors import LimitExceeded
from saccade.spec import AnyGrid, FixedGrid, ViewLayout, view_layout, window_px
from saccade.types import Box
from saccade.v1 import vision_pb2 as pb

if TYPE_CHECKING:
    from saccade.manifest import Manifest

# Fields that travel in the handshake; the others are the bundle's, which the digest settles.
_NEGOTIATED = (
    "message_bytes",
    "views",
    "tokens_per_view",
    "question_chars",
    "in_flight_packets",
    "open_questions",
    "question_frames",
    "context_tokens",
    "answer_tokens",
)


NO_LIMIT = 1 << 31
QUESTION_FRAMES = 16  # of one question
LEAST_MESSAGE_BYTES = 1 << 20  # a full-token f16 frame of 5 views x 1024 x 64 fits
MOST_MESSAGE_BYTES = 1 << 28
_DEMO_GRID = FixedGrid((96, 160), (8, 8))
_VALUE_BYTES = 4  # of a feature, in the codec that takes most
_REST_BYTES = 1 << 16  # of a packet beside features


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, and the shape of the tokens that they apply to.

    ``geometry`` says which grid a view has, ``dim`` is features per token; ``codecs`` the names
    that may be used; ``labels`` those that travel by number; ``context_tokens`` and
    ``answer_tokens`` are the engine's: of a dialogue with its answer, and of one answer; ``crops``
    and ``closeups`` the most views of these kinds that the language model knows.
    """

    message_bytes: int = LEAST_MESSAGE_BYTES
    views: int = 5
    tokens_per_view: int = 64
    question_chars: int = 200
    in_flight_packets: int = 64
    open_questions: int = 64
    question_frames: int = QUESTION_FRAMES
    context_tokens: int = NO_LIMIT
    answer_tokens: int = NO_LIMIT
    geometry: AnyGrid = _DEMO_GRID
    dim: int = 32
    codecs: tuple[str, ...] = ("f16", "int8z")
    labels: tuple[str, ...] = ()
    crops: int = NO_LIMIT
    closeups: int = NO_LIMIT

    @classmethod
    def of(cls, manifest: Manifest) -> Limits:
        """The limits that a bundle states, with the defaults for what it doesn't."""
        return cls(
            message_bytes=_message_bytes(manifest),
            views=manifest.most_views,
            tokens_per_view=manifest.most_tokens,
            question_chars=manifest.questions.chars,
            question_frames=manifest.questions.frames or QUESTION_FRAMES,
            geometry=manifest.encoder.geometry,
            dim=manifest.encoder.dim,
            codecs=manifest.codecs,
            labels=manifest.detector.labels if manifest.detector else (),
            crops=manifest.most_crops,
            closeups=manifest.most_closeups,
        )

    def layout(self, size: tuple[int, int], window: Box, images: int) -> ViewLayout:
        """Of a view of a frame of ``size`` (height, width) pixels, one of ``images``; ``window`` as
        it is on the wire. Raises ``LimitExceeded``.
        """
        return view_layout(self.geometry, window_px(size, window)[2:], images)

    def to_wire(self) -> pb.Limits:
        """As said in Welcome."""
        return pb.Limits(**{name: getattr(self, name) for name in _NEGOTIATED})

    def agreed(self, wire: pb.Limits) -> Limits:
        """The tighter of both sides; what the other leaves at 0 doesn't bind."""
        theirs = {name: getattr(wire, name) for name in _NEGOTIATED}
        tighter = {name: min(getattr(self, name), n) for name, n in theirs.items() if n}
        return replace(self, **tighter)


def _message_bytes(manifest: Manifest) -> int:
    """Room for a frame with all tokens of all views in the codec that takes most."""
    values = manifest.most_views * manifest.most_tokens * manifest.encoder.dim
    whole = values * _VALUE_BYTES + _REST_BYTES
    return min(max(whole, LEAST_MESSAGE_BYTES), MOST_MESSAGE_BYTES)


def check(what: str, received: int, allowed: int) -> None:
    """Raise LimitExceeded in words: "received 70 tokens in view 2, the limit is 64"."""
    if received > allowed:
        raise LimitExceeded(f"received {received} {what}, the limit is {allowed}")
