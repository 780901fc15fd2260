"""From trained checkpoints to a bundle: ONNX files, tokenizer, manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from saccade.bundle import Manifest, write_manifest
from saccade_drawn_world import view_forms
from saccade_drawn_world.bundle_specs import (
    PROMPT_SPEC,
    QUESTIONS,
    REGIONS,
    TEMPLATE,
    TEMPLATE_FILE,
    encoder_spec,
    language_spec,
)
from saccade_drawn_world.crossing.scene import KINDS
from saccade_drawn_world.crossing.words import DOMAIN
from saccade_drawn_world.tiny import onnx_export
from saccade_drawn_world.tiny.tiny_language import Language
from saccade_drawn_world.tiny.tiny_tokenizer import for_questions
from saccade_drawn_world.training import recipe, train_detector
from saccade_drawn_world.training.packing import PROMPT
from saccade_drawn_world.view_forms import Form
from saccade_export import onnx_files

APACHE = "Apache-2.0"
DETECTOR = "edge/detector.onnx"
BOOKS = "codec/rvq.bin"
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
    weights = work / train_detector.BEST
    if weights.exists():
        train_detector.export(weights, out / DETECTOR)
    model, words = recipe.trained_language(work)
    form = view_forms.patches(recipe.trained_encoder(work))
    books = work / recipe.TOKEN_BOOKS
    return write(out, form, model, words, books, training=training, accuracy=accuracy)


def assemble_registers(
    work: Path,
    out: Path,
    *,
    beside: Path,
    training: Mapping[str, Any],
    accuracy: Mapping[str, float],
) -> Manifest:
    """As ``assemble``, of the same run with its registers; it shares the detector of the bundle
    ``beside``.
    """
    if (beside / DETECTOR).exists():
        (out / DETECTOR).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(beside / DETECTOR, out / DETECTOR)
    model, words = recipe.trained_language(work, "registers")
    form = view_forms.registers(recipe.trained_encoder(work), recipe.trained_registers(work))
    books = work / recipe.REGISTER_BOOKS
    return write(out, form, model, words, books, training=training, accuracy=accuracy)


def write(
    out: Path,
    form: Form,
    model: Language,
    words: Tokenizer,
    books: Path | None = None,
    *,
    training: Mapping[str, Any],
    accuracy: Mapping[str, float],
) -> Manifest:
    """Write a bundle's graphs, tokenizer and manifest; a detector that lies there is part of it.

    ``books``: the codebooks that the language side was trained with, if there are any.
    """
    _write_graphs(out, form, model, words)
    (out / BOOKS).unlink(missing_ok=True)
    if books and books.exists():
        (out / BOOKS).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(books, out / BOOKS)
    files = _files(out)
    for name in files:
        if name.endswith(".onnx"):
            onnx_files.halve(out / name)
    told = {"accuracy": dict(accuracy), "training": {**training, "tokens": form.tokens}}
    return write_manifest(out, {**_contents(form, model, files), **told})


def _write_graphs(out: Path, form: Form, model: Language, words: Tokenizer) -> None:
    onnx_export.encoder(form.seeing, form.config, out / "edge/encoder.onnx")
    (out / "cloud").mkdir(parents=True, exist_ok=True)
    (out / TEMPLATE_FILE).write_text(TEMPLATE, "utf-8")
    for_questions(words, PROMPT.removeprefix("{question}")).save(str(out / "cloud/tokenizer.json"))
    projector = out / "cloud/projector.onnx"
    onnx_export.projector(model, form.count, projector, form.first_place)
    onnx_export.embedding(model, out / "cloud/embed.onnx")
    onnx_export.decoder(model, out / "cloud/decoder.onnx")


def _files(out: Path) -> dict[str, dict[str, str]]:
    """Every file of the bundle with its licence."""
    paths = sorted(p for p in out.glob("[ce]*/*") if p.suffix in (".onnx", ".json", ".jinja"))
    paths += [out / BOOKS] if (out / BOOKS).exists() else []
    names = [str(p.relative_to(out)) for p in paths]
    return {n: {"license": DETECTOR_LICENSE if n == DETECTOR else APACHE} for n in names}


def _contents(
    form: Form, model: Language, files: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    return {
        "name": form.name,
        "family": "saccade-tiny",
        "domain": DOMAIN,
        "encoder": encoder_spec(form, model.projector.up.in_features),
        "regions": REGIONS,
        "detector": _detector() if DETECTOR in files else None,
        "selection": {"method": "cls_ensemble", "tokens_per_view": form.kept},
        "codecs": ["f16", "int8z", *(["rvq"] if BOOKS in files else [])],
        "codec_tables": {"rvq": BOOKS} if BOOKS in files else {},
        "prompt": PROMPT_SPEC,
        "language": language_spec(model),
        "questions": QUESTIONS,
        "clip_of": "crossing",
        "files": files,
    }


def _detector() -> dict[str, Any]:
    return {
        "file": DETECTOR,
        "layout": "yolo-v8",
        "input": list(train_detector.INPUT),
        "labels": list(train_detector.LABELS),
        "score": 0.2,
        "iou": 0.5,
        "crops": list(KINDS),
        "closeups": [train_detector.PLATE],
    }


def write_blind(work: Path, out: Path) -> None:
    """The no-picture baseline of the run in ``work``, for ``bench/accuracy.py``."""
    model, _ = recipe.trained_language(work, "blind")
    onnx_export.embedding(model, out / "embed.onnx")
    onnx_export.decoder(model, out / "decoder.onnx")
    for name in ("embed.onnx", "decoder.onnx"):
        onnx_files.halve(out / name)
