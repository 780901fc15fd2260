"""The contract of a codec.

A codec knows token sets and bytes; it knows no packet, no checksum and no limit. Who calls
``decode`` has settled the shapes from trusted or bounded fields, so a codec allocates what the
shapes say and nothing that the layers say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from saccade.errors import CodecError
from saccade.types import F32, I32, Grid, TokenSet, ViewKind

MAX_LAYERS = 16  # of a packet, whatever the codec


@dataclass(frozen=True, slots=True)
class SetShape:
    """What is known of a token set before its layers are read."""

    count: int  # tokens kept, 0..places
    dim: int  # features per token
    grid: Grid
    kind: ViewKind = "overview"  # of the view; calibrated codecs expect others of each

    @property
    def places(self) -> int:
        """Tokens that the grid has room for."""
        return math.prod(self.grid)

    def keeps_as(self, other: SetShape) -> bool:
        """As many tokens of the same grid: the ids may be the same."""
        return (self.count, self.grid) == (other.count, other.grid)

    @classmethod
    def of(cls, tokens: TokenSet, kind: ViewKind = "overview") -> SetShape:
        return cls(len(tokens.ids), int(tokens.features.shape[1]), tokens.grid, kind)


def shapes_of(sets: Sequence[TokenSet], kinds: Sequence[ViewKind] | None) -> list[SetShape]:
    """The shapes of a frame's sets; all are overviews' where ``kinds`` is None."""
    if kinds is None:
        return [SetShape.of(tokens) for tokens in sets]
    return [SetShape.of(tokens, kind) for tokens, kind in zip(sets, kinds, strict=True)]


class Codec(Protocol):
    """A pair of pure functions, the same bits on every machine.

    ``encode``: all sets of a frame -> layers, base layer first, the first ``layers`` of them (at
    least 1) or all; fewer take less time and are the same bytes. ``kinds``: of view, one per set
    as in the shapes; overviews where it is None. Raises CodecError for values that the codec can't
    write (not finite, out of range).
    ``decode``: the base layer and any number of those that follow it -> the sets, ids exactly as
    encoded, features within the codec's stated error, ``order`` as the layers give it (raster
    where they give none). Raises CodecError for bytes that ``encode`` doesn't write for these
    shapes, and allocates no more than a small multiple of what the shapes hold.
    """

    @property
    def name(self) -> str:
        """As in manifests and options."""
        ...

    @property
    def wire_id(self) -> int:
        """As in packets; never reused."""
        ...

    @property
    def most_layers(self) -> int:
        """How many ``encode`` writes, where it is asked for all."""
        ...

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]: ...

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]: ...


class TableCodec(Codec, Protocol):
    """A codec whose tables are calibrated for one token width."""

    @property
    def dim(self) -> int:
        """Features per token."""
        ...


def stack(sets: Sequence[TokenSet]) -> F32:
    """All features of a frame: [sum of K, D] float32. Raises CodecError if one isn't finite."""
    dims = {int(tokens.features.shape[1]) for tokens in sets}
    if len(dims) != 1:
        raise CodecError(f"one frame's tokens have one width, not {sorted(dims)}")
    features = np.concatenate([tokens.features for tokens in sets])
    if not np.all(np.isfinite(features)):
        bad = int(np.count_nonzero(~np.isfinite(features)))
        raise CodecError(f"{bad} of {features.size} features are not finite")
    return features


def unstack(features: F32, ids: Sequence[I32], shapes: Sequence[SetShape]) -> list[TokenSet]:
    """[sum of K, D] float32 -> one set per shape, order as in the raster."""
    ends = np.cumsum([shape.count for shape in shapes])
    parts = np.split(features, ends[:-1])
    return [
        TokenSet(part, places, shape.grid, np.arange(shape.count, dtype=np.int32))
        for part, places, shape in zip(parts, ids, shapes, strict=True)
    ]


def single(layers: Sequence[bytes], name: str) -> bytes:
    """The only layer of a codec that has one. Raises CodecError otherwise."""
    if len(layers) != 1:
        raise CodecError(f"{name} has 1 layer, received {len(layers)}")
    return layers[0]


def prefix(layers: Sequence[bytes], most: int, name: str) -> None:
    """Raise CodecError unless there is a base layer, and no more than the codec's layers."""
    if not 1 <= len(layers) <= most:
        raise CodecError(f"{name} has 1 to {most} layers, received {len(layers)}")


def at_least(layer: bytes, expected: int) -> None:
    """Raise CodecError for a layer that can't hold what its shapes need."""
    if len(layer) < expected:
        raise CodecError(f"at least {expected} bytes are needed, received {len(layer)}")


def total(shapes: Sequence[SetShape]) -> tuple[int, int]:
    """(tokens, features per token) of a frame."""
    dims = {shape.dim for shape in shapes}
    if len(dims) != 1:
        raise CodecError(f"one frame's tokens have one width, not {sorted(dims)}")
    return sum(shape.count for shape in shapes), dims.pop()


def check_width(shapes: Sequence[SetShape], codec: TableCodec) -> int:
    """The tokens of a frame. Raises CodecError where their width isn't that of the tables."""
    tokens, dim = total(shapes)
    if dim != codec.dim:
        raise CodecError(f"tokens of {dim} features, {codec.name} is calibrated for {codec.dim}")
    return tokens
