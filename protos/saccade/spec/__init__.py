"""What a bundle says about its model, as plain data that both ends read alike.

A model family is described here, never named: `geometry` says which pixels a view is given as and
which token grid it has, `preprocess` how pixels are made ready, `tokens` what a token is made of,
`prompt` how images and text become the language model's input, `language` where that model is.
"""

from saccade.spec.geometry import (
    OVERVIEW,
    AnyGrid,
    DynamicGrid,
    FixedGrid,
    Geometry,
    Tile,
    TiledGrid,
    ViewLayout,
    view_layout,
    window_px,
)
from saccade.spec.language import (
    CheckpointFile,
    CheckpointRef,
    LanguageSpec,
    OnnxLanguage,
    ProjectorSpec,
)
from saccade.spec.preprocess import Preprocess
from saccade.spec.prompt import ImageSpec, PromptSpec
from saccade.spec.tokens import EncoderBucket, EncoderOutputs, EncoderSpec, TokenPart, TokenSpec

__all__ = [
    "OVERVIEW",
    "AnyGrid",
    "CheckpointFile",
    "CheckpointRef",
    "DynamicGrid",
    "EncoderBucket",
    "EncoderOutputs",
    "EncoderSpec",
    "FixedGrid",
    "Geometry",
    "ImageSpec",
    "LanguageSpec",
    "OnnxLanguage",
    "Preprocess",
    "ProjectorSpec",
    "PromptSpec",
    "Tile",
    "TiledGrid",
    "TokenPart",
    "TokenSpec",
    "ViewLayout",
    "view_layout",
    "window_px",
]
