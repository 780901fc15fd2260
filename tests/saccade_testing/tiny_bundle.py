"""A bundle with random weights, small enough to be written for every test run.

Its tokenizer is of the shipped bundle's kind: WordPiece over words and single characters.
"""

from __future__ import annotations

import math
import string
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from saccade.bundle import Bundle, write_manifest
from saccade.manifest import QuestionSpec, RegionSpec
from saccade.spec import (
    ImageSpec,
    LanguageSpec,
    OnnxLanguage,
    ProjectorSpec,
    PromptSpec,
)
from saccade.spec.language import INPUTS
from saccade_testing import tiny_graphs as graphs
from saccade_testing.encoder_specs import encoder_spec
from saccade_testing.tables import klt_table, rvq_table
from saccade_testing.tokens import DIM, GRID

VIEWS = 5
MAX_TOKENS = 24
WORDS = (
    *("what", "color", "is", "the", "car", "van", "bus", "red", "blue", "green"),
    *("how", "many", "vehicle", "question", "answer", "two"),
)
EOS = "<eos>"
SPECIALS = ["<pad>", "<bos>", EOS, "<unk>"]
TEMPLATE_FILE = "cloud/chat_template.jinja"
CLOUD_FILES = (
    *("projector.onnx", "embed.onnx", "decoder.onnx", "tokenizer.json"),
    "chat_template.jinja",
)
TEMPLATE = (
    "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}<bos>"
    "{% for part in messages[0].content if part.type == 'image' %}<pad>{% endfor %}question : "
    "{% for part in messages[0].content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    " answer :"
)
DIALOGUE = (
    "<bos>{% for turn in messages %}{{ turn.role }} : {% for part in turn.content %}"
    "{% if part.type == 'image' %}<pad>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}\n{% endfor %}assistant :"
)
PROMPT = PromptSpec(TEMPLATE_FILE, ImageSpec("<pad>"), (EOS,), pruned_positions="compact")


def write_tokenizer(path: Path) -> int:
    """Write tokenizer.json; the size of the vocabulary."""
    chars = string.ascii_lowercase + string.digits + "?:.,<>'"
    pieces = [*SPECIALS, *WORDS, *(c for c in chars if c not in WORDS), *(f"##{c}" for c in chars)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(SPECIALS)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))
    return tokenizer.get_vocab_size()


def write_bundle(
    folder: Path,
    seed: int = 0,
    max_tokens: int = MAX_TOKENS,
    *,
    calibrated: bool = False,
    dialogue: bool = False,
) -> Bundle:
    """A bundle for the tokens of ``saccade_testing.tokens``; its encoder is only a name.

    ``calibrated``: with the tables of ``saccade_testing.tables``; ``dialogue``: it takes any turns
    about any number of frames.
    """
    rng = np.random.default_rng(seed)
    vocab = write_tokenizer(folder / "cloud/tokenizer.json")
    (folder / TEMPLATE_FILE).write_text(DIALOGUE if dialogue else TEMPLATE)
    graphs.write_projector(folder / "cloud/projector.onnx", rng, DIM, math.prod(GRID), VIEWS)
    graphs.write_embedding(folder / "cloud/embed.onnx", rng, vocab)
    graphs.write_decoder(folder / "cloud/decoder.onnx", rng, vocab, eos=SPECIALS.index(EOS))
    (folder / "edge").mkdir(exist_ok=True)
    (folder / "edge/encoder.onnx").write_bytes(graphs.EMPTY_MODEL)
    fields = _fields(vocab, max_tokens)
    if dialogue:
        fields["questions"] = QuestionSpec(2000, 3)
    write_manifest(folder, _with_tables(folder, fields) if calibrated else fields)
    return Bundle.open(folder)


def _fields(vocab: int, max_tokens: int) -> dict[str, Any]:
    files = ("edge/encoder.onnx", *(f"cloud/{name}" for name in CLOUD_FILES))
    return {
        "name": "tiny",
        "family": "saccade-tiny",
        "domain": "random tokens",
        "encoder": encoder_spec(),
        "regions": RegionSpec(VIEWS - 1, crop_margin=0.1, crop_min_px=32, aspect="tile"),
        "selection": {"method": "cls_ensemble", "tokens_per_view": 16},
        "codecs": ["f16", "int8z"],
        "prompt": PROMPT,
        "language": _language(vocab, max_tokens),
        "questions": QuestionSpec(200, 1, crop_name="vehicle {crop}"),
        "files": {name: {"license": "Apache-2.0"} for name in files},
    }


def _with_tables(folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    tables = {"klt": klt_table().to_bytes(), "rvq": rvq_table().to_bytes()}
    (folder / "codec").mkdir()
    for name, table in tables.items():
        (folder / f"codec/{name}.bin").write_bytes(table)
        fields["files"][f"codec/{name}.bin"] = {"license": "Apache-2.0"}
    names = {name: f"codec/{name}.bin" for name in tables}
    return {**fields, "codecs": [*fields["codecs"], *tables], "codec_tables": names}


def _language(vocab: int, max_tokens: int) -> LanguageSpec:
    return LanguageSpec(
        width=graphs.WIDTH,
        vocab=vocab,
        max_tokens=max_tokens,
        max_context=graphs.CONTEXT,
        tokenizer="cloud/tokenizer.json",
        projector=ProjectorSpec("cloud/projector.onnx", INPUTS),
        onnx=OnnxLanguage(
            embedding="cloud/embed.onnx",
            decoder="cloud/decoder.onnx",
            layers=graphs.LAYERS,
            heads=graphs.HEADS,
            kv_heads=graphs.HEADS,
            head_dim=graphs.HEAD_DIM,
        ),
    )
