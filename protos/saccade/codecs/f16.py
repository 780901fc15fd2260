"""`f16`: half floats, the reference.

Layer: ids, then features [sum of K, D] as little-endian IEEE binary16, rounded to nearest even.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.codecs.base import SetShape, at_least, single, stack, total, unstack
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.errors import CodecError
from saccade.types import TokenSet, ViewKind

LARGEST = float(np.finfo(np.float16).max)  # 65504


class F16:
    """Relative error at most 2^-11 for magnitudes above 6.1e-5."""

    name = "f16"
    wire_id = 0
    most_layers = 1

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]:
        features = stack(sets)
        peak = float(np.max(np.abs(features), initial=0.0))
        if peak > LARGEST:
            raise CodecError(f"a feature of magnitude {peak:g}, f16 reaches {LARGEST:g}")
        ids = encode_ids([tokens.ids for tokens in sets], [SetShape.of(tokens) for tokens in sets])
        return (ids + features.astype("<f2").tobytes(),)

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        layer = single(layers, self.name)
        tokens, dim = total(shapes)
        expected = tokens * dim * 2
        at_least(layer, expected)  # before time is spent on the ids of a layer that is too short
        ids, start = decode_ids(layer, shapes)
        if len(layer) - start != expected:
            raise CodecError(
                f"{tokens} tokens of {dim} half floats are {expected} bytes, "
                f"received {len(layer) - start}"
            )
        features = np.frombuffer(layer, "<f2", offset=start).astype(np.float32)
        if not np.all(np.isfinite(features)):
            raise CodecError("features that are not finite")
        return unstack(features.reshape(tokens, dim), ids, shapes)
