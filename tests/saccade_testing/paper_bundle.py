"""A bundle that says all that a manifest must and holds nothing that runs: it needs no package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saccade.bundle import Bundle, write_manifest
from saccade.manifest import QuestionSpec, RegionSpec
from saccade.spec import (
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
    TokenPart,
    TokenSpec,
)


def model(name: bytes) -> bytes:
    """An ONNX model with an empty graph of that name."""
    return b"\x08\x08\x3a" + bytes([len(name) + 2]) + b"\x12" + bytes([len(name)]) + name


ENCODER = model(b"encoder")
FILES = {
    "edge/encoder.onnx": ENCODER,
    "cloud/projector.onnx": model(b"projector"),
    "cloud/embed.onnx": model(b"embed"),
    "cloud/decoder.onnx": model(b"decoder"),
    "cloud/tokenizer.json": b"{}",
    "cloud/chat_template.jinja": b"<bos><pad>",
}


def fields() -> dict[str, Any]:
    """What an exporter knows before files are measured."""
    return {
        "name": "paper",
        "family": "saccade-tiny",
        "domain": "random tokens",
        "encoder": EncoderSpec(
            buckets=(EncoderBucket("edge/encoder.onnx", (96, 160)),),
            geometry=FixedGrid((96, 160), (8, 8)),
            preprocess=Preprocess("area"),
            tokens=TokenSpec((TokenPart("main", 32),)),
            outputs=EncoderOutputs(saliency="saliency", keys="keys"),
        ),
        "regions": RegionSpec(4, crop_margin=0.12, aspect="tile"),
        "detector": None,
        "selection": {"method": "cls_ensemble", "tokens_per_view": 16},
        "codecs": ["f16", "int8z"],
        "prompt": PromptSpec("cloud/chat_template.jinja", ImageSpec("<pad>"), ("<eos>",)),
        "language": LanguageSpec(
            width=128,
            vocab=300,
            max_tokens=24,
            max_context=1024,
            tokenizer="cloud/tokenizer.json",
            projector=ProjectorSpec("cloud/projector.onnx"),
            onnx=OnnxLanguage("cloud/embed.onnx", "cloud/decoder.onnx", 5, 4, 4, 32),
        ),
        "questions": QuestionSpec(200),
        "files": {name: {"license": "Apache-2.0"} for name in FILES},
    }


def write_paper_bundle(folder: Path) -> Bundle:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_manifest(folder, fields())
    return Bundle.open(folder)
