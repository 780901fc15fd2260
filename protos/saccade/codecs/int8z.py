"""`int8z`: eight bits per feature with a scale per token, zstd where it helps; the cheap baseline.

Layer: ids; one scale byte per token; the quantised features [sum of K, D] int8 as they are, or in
one zstd frame if that is shorter: the length tells which. The frame has no magic number and no
checksum (the packet has one) and states its content size, which must be the expected one before
anything is decompressed: ``decompress(max_output_size=...)`` would not bound such a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import zstandard

from saccade.codecs.base import SetShape, at_least, single, stack, total, unstack
from saccade.codecs.ids import decode_ids, encode_ids
from saccade.errors import CodecError
from saccade.types import TokenSet, ViewKind

# A scale byte b means 2^((b - 160) / 8): eight steps per octave from 2^-20 to 2^11.9. The scale is
# rounded up, so nothing is clipped and at most 9 % of the range goes unused. The eight fractional
# powers are written out, because exp2 differs in the last bit between machines.
_EIGHTHS = (
    1.0,
    1.0905077326652577,
    1.189207115002721,
    1.2968395546510096,
    1.4142135623730951,
    1.5422108254079407,
    1.681792830507429,
    1.8340080864093424,
)
SCALES = np.array([_EIGHTHS[b % 8] * 2.0 ** (b // 8 - 20) for b in range(256)], np.float32)
LARGEST = float(SCALES[-1]) * 127

_MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS
# Small frames take under 10 ms at the highest level. A view of 576 x 1024 takes 400 ms there, and
# 13 ms at level 9, which gives 19 % more bytes.
_LEVEL, _LARGE_LEVEL = 19, 9
_LARGE_BYTES = 1 << 14
_WINDOW_BYTES = 1 << 20  # smallest bound that any frame within the message limit needs


class Int8z:
    """Absolute error at most half a scale: 0.43 % of the token's largest magnitude."""

    name = "int8z"
    wire_id = 1
    most_layers = 1

    def encode(
        self,
        sets: Sequence[TokenSet],
        layers: int | None = None,
        kinds: Sequence[ViewKind] | None = None,
    ) -> tuple[bytes, ...]:
        features = stack(sets)
        peaks = np.max(np.abs(features), axis=1, initial=0.0)
        if len(peaks) and float(peaks.max()) > LARGEST:
            raise CodecError(f"a feature of magnitude {peaks.max():g}, int8z reaches {LARGEST:g}")
        codes = np.searchsorted(SCALES * np.float32(127), peaks)  # the smallest scale that reaches
        levels = np.rint(features / SCALES[codes, None])
        body = np.clip(levels, -127, 127).astype(np.int8).tobytes()
        ids = encode_ids([tokens.ids for tokens in sets], [SetShape.of(tokens) for tokens in sets])
        return (ids + codes.astype(np.uint8).tobytes() + min(body, _compress(body), key=len),)

    def decode(self, layers: Sequence[bytes], shapes: Sequence[SetShape]) -> list[TokenSet]:
        layer = single(layers, self.name)
        tokens, dim = total(shapes)
        at_least(layer, tokens)  # before time is spent on the ids of a layer that is too short
        ids, start = decode_ids(layer, shapes)
        body_at = start + tokens
        if len(layer) < body_at:
            raise CodecError(f"{tokens} scales end at byte {body_at}, received {len(layer)} bytes")
        codes = np.frombuffer(layer, np.uint8, tokens, start)
        body = _expand(layer[body_at:], tokens * dim)
        levels = np.frombuffer(body, np.int8).reshape(tokens, dim)
        features = levels.astype(np.float32) * SCALES[codes, None]
        return unstack(features, ids, shapes)


def _compress(body: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL if len(body) <= _LARGE_BYTES else _LARGE_LEVEL,
        format=_MAGICLESS,
        write_content_size=True,
        write_checksum=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(body)


def _expand(data: bytes, expected: int) -> bytes:
    """``expected`` bytes, raw or from a zstd frame that says exactly so. Raises CodecError."""
    if len(data) == expected:
        return data
    if len(data) > expected:
        raise CodecError(f"{expected} bytes of features, received {len(data)}")
    try:
        stated = zstandard.get_frame_parameters(data, format=_MAGICLESS).content_size
        if stated != expected:
            raise CodecError(f"{expected} bytes of features, the zstd frame states {stated}")
        unpack = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES, format=_MAGICLESS)
        return unpack.decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError(f"features: {error}") from error
