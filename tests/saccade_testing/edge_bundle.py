"""A bundle whose edge half really runs: a tiny encoder and detectors that look at the picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from saccade.bundle import Bundle, write_manifest
from saccade.manifest import QuestionSpec, RegionSpec
from saccade.spec import (
    EncoderSpec,
    ImageSpec,
    LanguageSpec,
    OnnxLanguage,
    ProjectorSpec,
    PromptSpec,
)
from saccade_testing.encoder_specs import encoder_spec
from saccade_testing.tiny_graphs import EMPTY_MODEL, Graph
from saccade_testing.tokens import DIM, GRID

HEIGHT, WIDTH = 96, 160
LAYERS, HEADS, KEYS = 2, 4, 8
DETECTOR_SIZE = (384, 640)
LABELS = ("person", "car", "van")
CLOUD_FILES = (
    *("projector.onnx", "embed.onnx", "decoder.onnx", "tokenizer.json"),
    "chat_template.jinja",
)
SELECTION = {"method": "cls_ensemble", "tokens_per_view": 16}
PROMPT = PromptSpec("cloud/chat_template.jinja", ImageSpec("<pad>"), ("<eos>",))
REGIONS = RegionSpec(4, crop_margin=0.1, crop_min_px=32, aspect="tile")


def write_edge_bundle(
    folder: Path,
    *,
    detector: bool = True,
    faults: bool = False,
    encoder: EncoderSpec | None = None,
    regions: RegionSpec | None = REGIONS,
    files: Sequence[str] = (),
    intro: str = "",
    selection: Mapping[str, object] = SELECTION,
) -> Bundle:
    """``encoder``: what the manifest says of it, if that shall lie; ``faults``: see
    `write_encoder`; ``files``: further ones that are there; ``intro``: of regions, in prompts.
    """
    (folder / "cloud").mkdir(parents=True, exist_ok=True)
    for name in CLOUD_FILES:
        (folder / "cloud" / name).write_bytes(EMPTY_MODEL)
    write_encoder(folder / "edge/encoder.onnx", faults=faults)
    listed = ["edge/encoder.onnx", *(f"cloud/{name}" for name in CLOUD_FILES), *files]
    if detector:
        write_red_detector(folder / "edge/detector.onnx")
        listed.append("edge/detector.onnx")
    fields = _fields(listed, detector, encoder or encoder_spec(), regions)
    prompt = replace(PROMPT, region_intro=intro)
    write_manifest(folder, {**fields, "prompt": prompt, "selection": selection})
    return Bundle.open(folder)


def write_encoder(path: Path, *, faults: bool = False) -> None:
    """Patches of 12 x 20 pixels, linearly projected; saliency follows a patch's contrast.

    ``faults``: a white view has features that are no numbers, at a black one the model fails.
    """
    rng = np.random.default_rng(5)
    _, rows, columns = GRID
    tokens, patch = rows * columns, (HEIGHT // rows) * (WIDTH // columns) * 3
    g = Graph()
    pixels = _cast(g, "views", TensorProto.FLOAT)
    scaled = g.add("Mul", pixels, g.constant(np.array(1 / 255, np.float32)))
    split = [0, rows, HEIGHT // rows, columns, WIDTH // columns, 3]
    tiles = g.add("Reshape", scaled, g.constant(np.array(split, np.int64)))
    flat = g.add("Transpose", tiles, perm=[0, 1, 3, 2, 4, 5])
    patches = g.add("Reshape", flat, g.constant(np.array([0, tokens, patch], np.int64)))
    weights = rng.standard_normal((patch, DIM)) / math.sqrt(patch)
    if faults:
        patches = _faulty(g, patches)
    g.add("MatMul", patches, g.constant(weights.astype(np.float32)), to="features")
    g.add("MatMul", "features", g.constant(np.eye(DIM, KEYS, dtype=np.float32)), to="keys")
    contrast = g.add(
        "Sub",
        g.add("ReduceMax", patches, axes=[2], keepdims=0),
        g.add("ReduceMin", patches, axes=[2], keepdims=0),
    )
    attention = g.add("Softmax", contrast, axis=-1)
    whole = g.add("Unsqueeze", attention, g.constant(np.array([1, 2], np.int64)))
    repeats = g.constant(np.array([1, LAYERS, HEADS, 1], np.int64))
    g.add("Tile", whole, repeats, to="saliency")
    g.save(
        path,
        {"views": (TensorProto.UINT8, ["B", HEIGHT, WIDTH, 3])},
        {
            "features": ["B", tokens, DIM],
            "saliency": ["B", LAYERS, HEADS, tokens],
            "keys": ["B", tokens, KEYS],
        },
    )


def _faulty(g: Graph, patches: str) -> str:
    """``patches``, but NaN where all are 1, and a failure of the model where all are 0."""
    darkest = g.add("ReduceMin", patches, axes=[1, 2], keepdims=1)
    brightest = g.add("ReduceMax", patches, axes=[0, 1, 2], keepdims=0)
    one, zero = (g.constant(np.array(v, np.float32)) for v in (1, 0))
    infinite = g.add("Log", g.add("Sub", one, darkest))
    odd = g.add("Add", patches, g.add("Mul", infinite, zero))
    # Element 1 of one element, where nothing is bright.
    dark = _cast(g, g.add("LessOrEqual", brightest, zero), TensorProto.INT64)
    nothing = g.add("Gather", g.constant(np.zeros(1, np.float32)), dark)
    return g.add("Add", odd, nothing)


def write_red_detector(path: Path) -> None:
    """End-to-end layout, [1, 1, 6]: the box around all that is red, a "car" of score 0.9."""
    g = Graph()
    red = g.add("Slice", "images", *(g.constant(np.array([v], np.int64)) for v in (0, 1, 1)))
    green = g.add("Slice", "images", *(g.constant(np.array([v], np.int64)) for v in (1, 2, 1)))
    excess = g.add("Sub", red, green)
    is_red = g.add("Greater", excess, g.constant(np.array(0.4, np.float32)))
    mask = _cast(g, is_red, TensorProto.FLOAT)
    edges = []
    for axis in (2, 3):
        line = g.add("ReduceMax", mask, axes=[1, 5 - axis], keepdims=0)  # [1, width or height]
        first = g.add("ArgMax", line, axis=1)
        last = g.add("ArgMax", line, axis=1, select_last_index=1)
        after = g.add("Add", last, g.constant(np.array([[1]], np.int64)))
        edges.append([_cast(g, e, TensorProto.FLOAT) for e in (first, after)])
    (y0, y1), (x0, x1) = edges
    rest = g.constant(np.array([[0.9, LABELS.index("car")]], np.float32))
    row = g.add("Concat", x0, y0, x1, y1, rest, axis=1)
    g.add("Unsqueeze", row, g.constant(np.array([0], np.int64)), to="output0")
    g.save(
        path,
        {"images": (TensorProto.FLOAT, [1, 3, *DETECTOR_SIZE])},
        {"output0": [1, 1, 6]},
    )


def _cast(g: Graph, value: str, kind: int) -> str:
    """``Graph.add`` has its own ``to``."""
    output = f"n{len(g.nodes)}"
    g.nodes.append(helper.make_node("Cast", [value], [output], to=kind))
    return output


def _fields(
    files: list[str], detector: bool, encoder: EncoderSpec, regions: RegionSpec | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": "tiny",
        "family": "saccade-tiny",
        "domain": "random tokens",
        "encoder": encoder,
        "regions": regions,
        "codecs": ["f16", "int8z"],
        "language": LanguageSpec(
            width=16,
            vocab=16,
            max_tokens=16,
            max_context=16,
            tokenizer="cloud/tokenizer.json",
            projector=ProjectorSpec("cloud/projector.onnx"),
            onnx=OnnxLanguage("cloud/embed.onnx", "cloud/decoder.onnx", 16, 16, 16, 16),
        ),
        "questions": QuestionSpec(200),
        "files": {name: {"license": "Apache-2.0"} for name in files},
    }
    if detector:
        fields["detector"] = {
            "file": "edge/detector.onnx",
            "layout": "yolo-v10",
            "input": list(DETECTOR_SIZE),
            "labels": list(LABELS),
            "score": 0.3,
            "iou": 0.5,
        }
    return fields
