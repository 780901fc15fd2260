"""What test bundles say about their encoders."""

from __future__ import annotations

from saccade.spec import (
    EncoderBucket,
    EncoderOutputs,
    EncoderSpec,
    FixedGrid,
    Preprocess,
    TokenPart,
    TokenSpec,
)
from saccade_testing.tokens import DIM, GRID


def encoder_spec(file: str = "edge/encoder.onnx") -> EncoderSpec:
    """An encoder for the tokens of ``saccade_testing.tokens``."""
    return EncoderSpec(
        buckets=(EncoderBucket(file, (96, 160)),),
        geometry=FixedGrid((96, 160), GRID[1:]),
        preprocess=Preprocess("area"),
        tokens=TokenSpec((TokenPart("main", DIM),)),
        outputs=EncoderOutputs(saliency="saliency", keys="keys"),
    )
