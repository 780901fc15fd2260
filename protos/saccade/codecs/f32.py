"""`f32`: every feature as it is, for the proof that a split answer is the whole model's.

Layer: ids, then features [sum of K, D] as little-endian IEEE binary32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.codecs.base import SetShape, at_least, single, stack, total, unstack
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.errors import CodecError
from saccade.types import TokenSet, ViewKind


class F32Codec:
    """No error: decoded features are the encoder's bits."""

    name = "f32"
    wire_id = 4
    most_layers = 1

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]:
        features = stack(sets)
        ids = encode_ids([tokens.ids for tokens in sets], [SetShape.of(tokens) for tokens in sets])
        return (ids + features.astype("<f4", copy=False).tobytes(),)

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        layer = single(layers, self.name)
        tokens, dim = total(shapes)
        expected = tokens * dim * 4
        at_least(layer, expected)  # before time is spent on the ids of a layer that is too short
        ids, start = decode_ids(layer, shapes)
        if len(layer) - start != expected:
            raise CodecError(
                f"{tokens} tokens of {dim} floats are {expected} bytes, "
                f"received {len(layer) - start}"
            )
        features = np.frombuffer(layer, "<f4", offset=start).astype(np.float32)
        if not np.all(np.isfinite(features)):
            raise CodecError("features that are not finite")
        return unstack(features.reshape(tokens, dim), ids, shapes)
