"""What two ends agree to accept from each other, checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from saccade.errors import LimitExceeded
from saccade.types import Grid
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


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds, and the shape of the tokens that they apply to.

    ``grid`` and ``dim`` are the encoder's (t, h, w) and features per token; ``codecs`` the names
    that may be used; ``context_tokens`` and ``answer_tokens`` are the engine's: of a dialogue with
    its answer, and of one answer; ``crops`` and ``closeups`` the most views of these kinds that the
    language model knows.
    """

    message_bytes: int = 1 << 20  # a full-token f16 frame of 5 views x 1024 x 64 fits
    views: int = 5
    tokens_per_view: int = 64
    question_chars: int = 200
    in_flight_packets: int = 64
    open_questions: int = 64
    question_frames: int = 16
    context_tokens: int = NO_LIMIT
    answer_tokens: int = NO_LIMIT
    grid: Grid = (1, 8, 8)
    dim: int = 32
    codecs: tuple[str, ...] = ("f16", "int8z")
    crops: int = NO_LIMIT
    closeups: int = NO_LIMIT

    @classmethod
    def of(cls, manifest: Manifest) -> Limits:
        """The limits that a bundle states, with the defaults for what it doesn't."""
        return cls(
            views=manifest.limits.views,
            tokens_per_view=manifest.limits.tokens_per_view,
            question_chars=manifest.limits.question_chars,
            grid=manifest.encoder.grid,
            dim=manifest.encoder.dim,
            codecs=manifest.codecs,
            crops=manifest.encoder.max_crops,
            closeups=manifest.encoder.max_closeups,
        )

    @property
    def grid_tokens(self) -> int:
        """Places in one view's grid."""
        return math.prod(self.grid)

    def to_wire(self) -> pb.Limits:
        """As said in Welcome."""
        return pb.Limits(**{name: getattr(self, name) for name in _NEGOTIATED})

    def agreed(self, wire: pb.Limits) -> Limits:
        """The tighter of both sides; what the other leaves at 0 doesn't bind."""
        theirs = {name: getattr(wire, name) for name in _NEGOTIATED}
        tighter = {name: min(getattr(self, name), n) for name, n in theirs.items() if n}
        return replace(self, **tighter)


def check(what: str, received: int, allowed: int) -> None:
    """Raise LimitExceeded in words: "received 70 tokens in view 2, the limit is 64"."""
    if received > allowed:
        raise LimitExceeded(f"received {received} {what}, the limit is {allowed}")
