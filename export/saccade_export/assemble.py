"""From trained checkpoints to a bundle: ONNX files, tokenizer, manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from saccade.bundle import Manifest, write_manifest
from saccade_export import onnx_files
from saccade_export.crossing.questions import EXAMPLES
from saccade_export.crossing.scene import KINDS
from saccade_export.tiny.encoder import Encoder, EncoderConfig
from saccade_export.tiny.language import Language
from saccade_export.training import detector, recipe
from saccade_export.training.packing import PROMPT
from saccade_export.training.shards import (
    CLOSEUP_MARGIN,
    CROP_MARGIN,
    CROP_MIN_PX,
    MAX_CLOSEUPS,
    MAX_CROPS,
)

APACHE = "Apache-2.0"
DETECTOR = "edge/detector.onnx"
# Trained with Ultralytics, whose authors claim their licence for weights trained with it.
DETECTOR_LICENSE = "AGPL-3.0-only"


def assemble(
    work: Path,
    out: Path,
    *,
    training: Mapping[str, Any],
    accuracy: Mapping[str, float],
) -> Manifest:
    """Write the bundle of the run in ``work`` to ``out``; other files there are left alone.

    ``accuracy`` goes into the manifest as measured by ``bench/accuracy.py``, ``training`` as the
    command and what else there is to know about the run.
    """
    encoder = recipe.trained_encoder(work)
    model, words = recipe.trained_language(work)
    _write_graphs(out, encoder, model, words)
    weights = work / detector.BEST
    if weights.exists():
        detector.export(weights, out / DETECTOR)
    contents = _contents(encoder.config, model, _files(out))
    return write_manifest(out, {**contents, "accuracy": dict(accuracy), "training": dict(training)})


def _write_graphs(out: Path, encoder: Encoder, model: Language, words: Tokenizer) -> None:
    onnx_files.encoder(encoder, out / "edge/encoder.onnx")
    (out / "cloud").mkdir(parents=True, exist_ok=True)
    words.save(str(out / "cloud/tokenizer.json"))
    onnx_files.projector(model, encoder.config.tokens, out / "cloud/projector.onnx")
    onnx_files.embedding(model, out / "cloud/embed.onnx")
    onnx_files.decoder(model, out / "cloud/decoder.onnx")


def _files(out: Path) -> dict[str, dict[str, str]]:
    """Every file of the bundle with its licence."""
    paths = sorted(p for p in out.glob("[ce]*/*") if p.suffix in (".onnx", ".json"))
    names = [str(p.relative_to(out)) for p in paths]
    return {n: {"license": DETECTOR_LICENSE if n == DETECTOR else APACHE} for n in names}


def _contents(
    config: EncoderConfig, model: Language, files: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    return {
        "name": "crossing",
        "family": "saccade-tiny",
        "encoder": _encoder(config),
        "detector": _detector() if DETECTOR in files else None,
        "selection": {"method": "cls_ensemble", "tokens_per_view": 16},
        "codecs": ["f16", "int8z"],
        "language": _language(model),
        "limits": {
            "views": 1 + MAX_CROPS + MAX_CLOSEUPS,
            "tokens_per_view": config.tokens,
            "question_chars": 200,
        },
        "files": files,
    }


def _encoder(config: EncoderConfig) -> dict[str, Any]:
    return {
        "file": "edge/encoder.onnx",
        "input": {
            "name": "views",
            "height": config.height,
            "width": config.width,
            "channels": 3,
            "dtype": "uint8",
        },
        "grid": [1, config.rows, config.columns],
        "dim": config.out,
        "outputs": {"features": "features", "saliency": "saliency", "keys": "keys"},
        "max_crops": MAX_CROPS,
        "crop_margin": CROP_MARGIN,
        "crop_min_px": int(CROP_MIN_PX),
        "max_closeups": MAX_CLOSEUPS,
        "closeup_margin": CLOSEUP_MARGIN,
    }


def _detector() -> dict[str, Any]:
    return {
        "file": DETECTOR,
        "layout": "yolo-v8",
        "input": list(detector.INPUT),
        "labels": list(detector.LABELS),
        "score": 0.2,
        "iou": 0.5,
        "crops": list(KINDS),
        "closeups": [detector.PLATE],
    }


def _language(model: Language) -> dict[str, Any]:
    config = model.config
    return {
        "projector": "cloud/projector.onnx",
        "embedding": "cloud/embed.onnx",
        "decoder": "cloud/decoder.onnx",
        "tokenizer": "cloud/tokenizer.json",
        "layers": config.layers,
        "heads": config.heads,
        "head_dim": config.width // config.heads,
        "width": config.width,
        "vocab": config.vocab,
        "bos": "<bos>",
        "eos": "<eos>",
        "max_tokens": 24,
        "max_context": config.context,
        "template": ["<bos>", "{visual}", PROMPT],
        "examples": EXAMPLES,
    }


def write_blind(work: Path, out: Path) -> None:
    """The no-picture baseline of the run in ``work``, for ``bench/accuracy.py``."""
    model, _ = recipe.trained_language(work, "blind")
    onnx_files.embedding(model, out / "embed.onnx")
    onnx_files.decoder(model, out / "decoder.onnx")
