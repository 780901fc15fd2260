"""A bundle that says all that a manifest must and holds nothing that runs: it needs no package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saccade.bundle import Bundle, write_manifest


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
}


def fields() -> dict[str, Any]:
    """What an exporter knows before files are measured."""
    return {
        "format": 1,
        "name": "paper",
        "family": "saccade-tiny",
        "domain": "random tokens",
        "encoder": {
            "file": "edge/encoder.onnx",
            "input": {"name": "views", "height": 96, "width": 160, "channels": 3, "dtype": "uint8"},
            "grid": [1, 8, 8],
            "dim": 32,
            "outputs": {"features": "features", "saliency": "saliency", "keys": "keys"},
            "max_crops": 4,
            "crop_margin": 0.12,
            "crop_min_px": 32,
        },
        "detector": None,
        "selection": {"method": "cls_ensemble", "tokens_per_view": 16},
        "codecs": ["f16", "int8z"],
        "language": {
            "projector": "cloud/projector.onnx",
            "embedding": "cloud/embed.onnx",
            "decoder": "cloud/decoder.onnx",
            "tokenizer": "cloud/tokenizer.json",
            "layers": 5,
            "heads": 4,
            "head_dim": 32,
            "width": 128,
            "vocab": 300,
            "bos": "<bos>",
            "eos": "<eos>",
            "max_tokens": 24,
            "max_context": 1024,
            "template": ["<bos>", "{visual}", "question : {question} answer :"],
        },
        "limits": {"views": 5, "tokens_per_view": 64, "question_chars": 200},
        "files": {name: {"license": "Apache-2.0"} for name in FILES},
    }


def write_paper_bundle(folder: Path) -> Bundle:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    write_manifest(folder, fields())
    return Bundle.open(folder)
