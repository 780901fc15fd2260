"""Specs are JSON and back, and what is wrong with one is said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from saccade import schema
from saccade.spec import (
    AnyGrid,
    DynamicGrid,
    EncoderBucket,
    EncoderOutputs,
    EncoderSpec,
    FixedGrid,
    ImageSpec,
    LanguageSpec,
    OnnxLanguage,
    Preprocess,
    ProjectorSpec,
    PromptSpec,
    TiledGrid,
    TokenPart,
    TokenSpec,
    window_px,
)

FIXED = FixedGrid((336, 336), (24, 24))
TILED = TiledGrid((384, 384), (27, 27), "best-resolution", ((1, 1), (1, 2)), alone=True)
DYNAMIC = DynamicGrid(((448, 448), (672, 448)), 28, 3136, 1003520)
PROMPT = PromptSpec("cloud/chat.jinja", ImageSpec("<image>"), ("</s>",), vectors={"newline": "n"})
LANGUAGE = LanguageSpec(
    width=896,
    vocab=1000,
    max_tokens=64,
    max_context=4096,
    tokenizer="cloud/tokenizer.json",
    projector=ProjectorSpec("cloud/projector.onnx"),
    onnx=OnnxLanguage("cloud/e.onnx", "cloud/d.onnx", 24, 14, 2, 64),
)


def encoder(geometry: AnyGrid) -> EncoderSpec:
    return EncoderSpec(
        buckets=tuple(EncoderBucket(f"edge/{h}x{w}.onnx", (h, w)) for h, w in geometry.inputs),
        geometry=geometry,
        preprocess=Preprocess("bicubic", "crop"),
        tokens=TokenSpec((TokenPart("main", 1024), TokenPart("deepstack-0", 64)), "pooling"),
        outputs=EncoderOutputs(saliency="saliency"),
    )


@pytest.mark.parametrize(
    "spec", [encoder(FIXED), encoder(TILED), encoder(DYNAMIC), PROMPT, LANGUAGE]
)
def test_a_spec_is_the_same_after_json(spec: EncoderSpec | PromptSpec | LanguageSpec) -> None:
    problems: list[str] = []
    assert schema.read(type(spec), schema.write(spec), problems) == spec
    assert not problems
    assert not spec.problems()


@dataclass(frozen=True)
class Holder:
    geometry: AnyGrid


@pytest.mark.parametrize("kind", ["pyramid", None, 7])
def test_an_unknown_geometry_names_the_known_ones(kind: object) -> None:
    problems: list[str] = []
    with pytest.raises(schema.Misfit):
        schema.read(Holder, {"geometry": {"kind": kind}}, problems)
    assert len(problems) == 1
    assert "geometry.kind is one of fixed, tiled, dynamic" in problems[0]


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        (FixedGrid((336, 0), (24, 24)), "size is [336, 0]"),
        (FixedGrid((336, 336), (24, 1 << 20)), "grid is"),
        (TiledGrid((384, 384), (27, 27), "spiral", ((1, 1),)), "rule 'spiral' is unknown"),
        (TiledGrid((384, 384), (27, 27), "closest-ratio"), "tilings is empty"),
        (TiledGrid((384, 384), (27, 27), "closest-ratio", ((0, 1),)), "tilings is [0, 1]"),
        (TiledGrid((384, 384), (8, 8), "longest-edge"), "longest_edge is [0, 1]"),
        (TiledGrid((384, 256), (8, 8), "longest-edge", longest_edge=512), "are square"),
        (DynamicGrid((), 28, 1, 2), "sizes is empty"),
        (DynamicGrid(((30, 28),), 28, 1, 2), "size [30, 28] is not whole units of 28"),
        (DynamicGrid(((28, 28),), 0, 1, 2), "unit is [0, 1]"),
        (DynamicGrid(((28, 28),), 28, 3, 2), "min_pixels..max_pixels is 3..2"),
    ],
)
def test_a_geometry_that_cannot_be_is_told(geometry: AnyGrid, said: str) -> None:
    assert any(said in problem for problem in geometry.problems())


def test_an_encoder_needs_a_graph_for_each_size() -> None:
    spec = encoder(DYNAMIC)
    fewer = EncoderSpec(spec.buckets[:1], spec.geometry, spec.preprocess, spec.tokens)
    assert fewer.problems() == ["buckets has no graph for tiles of 672 x 448 pixels"]


def test_a_text_around_images_is_short() -> None:
    long = replace(PROMPT, image=replace(PROMPT.image, before="x" * 201), region_intro="y" * 300)
    assert long.problems() == [
        "image.before has 201 characters, 200 are allowed",
        "region_intro has 300 characters, 200 are allowed",
    ]


def test_parts_of_tokens_lie_side_by_side() -> None:
    tokens = encoder(FIXED).tokens
    assert tokens.slices() == {"main": slice(0, 1024), "deepstack-0": slice(1024, 1088)}
    assert (tokens.dim, tokens.deepstack) == (1088, 1)


def test_a_window_has_at_least_a_pixel_and_stays_in_the_frame() -> None:
    assert window_px((100, 200), (0.0, 0.0, 1.0, 1.0)) == (0, 0, 100, 200)
    assert window_px((2, 2), (254 / 255, 0.0, 1.0, 1 / 255)) == (0, 1, 1, 1)
    assert window_px((1, 1), (0.5, 0.5, 1.0, 1.0)) == (0, 0, 1, 1)
