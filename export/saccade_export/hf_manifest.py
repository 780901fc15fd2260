"""What the manifest of an exported checkpoint says, and the files beside its graphs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import nn

from saccade.manifest import RegionSpec, SelectionSpec
from saccade.selection.needs import COVERAGE_METHOD, usable
from saccade.spec.language import (
    CheckpointFile,
    CheckpointRef,
    LanguageSpec,
    OnnxLanguage,
    ProjectorSpec,
)
from saccade.spec.tokens import EncoderBucket, EncoderOutputs, EncoderSpec
from saccade.types import F32
from saccade_export.checkpoint import Checkpoint
from saccade_export.families.base import TEMPLATE, Bucket, FamilyAdapter, vector_file
from saccade_export.graph_weights import WeightsFile
from saccade_export.language_export import DecoderOptions, FileTensors, export_language
from saccade_export.language_export.numbers import Numbers

WEIGHTS = "edge/encoder.weights"
PROJECTOR, PROJECTOR_WEIGHTS = "cloud/projector.onnx", "cloud/projector.weights"
TOKENIZER = "cloud/tokenizer.json"
CODECS = ("int8z", "f16", "f32")  # those that need no calibration
DOMAIN = "any picture: a general vision-language model"
MAX_TOKENS = 1024  # of an answer, where the checkpoint does not say
UNCALIBRATED_SHARE = 4  # one token in so many is kept until calibration chooses
FALLBACK_METHOD = "uniform"
# Of a checkpoint, beside its weights: what its language model is made from.
READ = ("config.json", "generation_config.json", "model.safetensors.index.json")
NO_LICENSE = "NOASSERTION"
_CHUNK_BYTES = 1 << 20


def shown(bucket: Bucket) -> str:
    """For a line of progress."""
    return f"encoder {bucket.size[0]} x {bucket.size[1]}"


def graph_file(bucket: Bucket, buckets: Sequence[Bucket]) -> str:
    """The name of a graph: with its size where there are several."""
    if len(buckets) == 1:
        return "edge/encoder.onnx"
    return f"edge/encoder_{bucket.size[0]}x{bucket.size[1]}.onnx"


def write_projector(
    projector: nn.Module,
    adapter: FamilyAdapter,
    out: Path,
    export: Callable[..., None],
) -> None:
    """The projector's graph; its weights beside it."""
    width = adapter.tokens().parts[0].width
    with closing(WeightsFile(out / PROJECTOR_WEIGHTS)) as weights:
        export(projector, width, out / PROJECTOR, weights, "f32")


def encoder_fields(
    adapter: FamilyAdapter, outputs: EncoderOutputs, tokens: int, crops: int
) -> dict[str, Any]:
    """``encoder``, ``selection``, ``codecs`` and ``regions``."""
    buckets = adapter.buckets()
    graphs = tuple(EncoderBucket(graph_file(b, buckets), b.size) for b in buckets)
    geometry = adapter.geometry()
    spec = EncoderSpec(
        buckets=graphs,
        geometry=geometry,
        preprocess=adapter.preprocess(),
        tokens=adapter.tokens(),
        outputs=outputs,
    )
    methods = usable(spec.offers)
    method = COVERAGE_METHOD if COVERAGE_METHOD in methods else FALLBACK_METHOD
    kept = tokens or max(1, geometry.most_tokens // UNCALIBRATED_SHARE)
    return {
        "encoder": spec,
        "selection": SelectionSpec(method, min(kept, geometry.most_tokens)),
        "codecs": CODECS,
        "regions": RegionSpec(max_crops=crops) if crops else None,
    }


def onnx_language(
    checkpoint: Checkpoint, adapter: FamilyAdapter, out: Path, numbers: Numbers
) -> OnnxLanguage:
    """Write the language model as graphs, for the engine ``onnx``."""
    options = DecoderOptions(
        bidirectional=adapter.prompt().attention != "causal", deepstack=adapter.tokens().deepstack
    )
    config = checkpoint.model_config.get_text_config()
    made = export_language(config, FileTensors(checkpoint.files), out / "cloud", numbers, options)
    return OnnxLanguage(
        embedding=f"cloud/{made.embedding.name}",
        decoder=f"cloud/{made.decoder.name}",
        layers=made.layers,
        heads=made.heads,
        kv_heads=made.kv_heads,
        head_dim=made.head_dim,
    )


def fields(
    checkpoint: Checkpoint,
    adapter: FamilyAdapter,
    out: Path,
    name: str,
    onnx: OnnxLanguage | None = None,
) -> dict[str, Any]:
    """The manifest but for the encoder and the list of files; writes template and tokenizer."""
    text = checkpoint.model_config.get_text_config()
    (out / TEMPLATE).parent.mkdir(parents=True, exist_ok=True)
    (out / TEMPLATE).write_text(adapter.template(), encoding="utf-8")
    _write_tokenizer(checkpoint, out / TOKENIZER)
    has_projector = (out / PROJECTOR).is_file()
    language = LanguageSpec(
        width=int(text.hidden_size),
        vocab=int(text.vocab_size),
        max_tokens=int(checkpoint.generation.get("max_new_tokens") or MAX_TOKENS),
        max_context=int(text.max_position_embeddings),
        tokenizer=TOKENIZER,
        projector=ProjectorSpec(PROJECTOR) if has_projector else None,
        onnx=onnx,
        checkpoint=CheckpointRef(checkpoint.architectures[0], _digests(checkpoint)),
    )
    return {
        "name": name,
        "family": adapter.name,
        "domain": DOMAIN,
        "prompt": adapter.prompt(),
        "language": language,
        "training": {"checkpoint": checkpoint.folder.name, "command": "saccade export hf"},
    }


def files(
    checkpoint: Checkpoint, out: Path, vectors: Mapping[str, F32]
) -> dict[str, dict[str, str]]:
    """All files of the bundle with the checkpoint's licence; writes the vectors first."""
    for name, vector in vectors.items():
        (out / vector_file(name)).write_bytes(vector.astype("<f4").tobytes())
    licence = license_of(checkpoint)
    names = sorted(str(p.relative_to(out).as_posix()) for p in out.rglob("*") if p.is_file())
    return {name: {"license": licence} for name in names}


def license_of(checkpoint: Checkpoint) -> str:
    """As the head of the model card says, else `NO_LICENSE`."""
    card = checkpoint.folder / "README.md"
    if not card.is_file():
        return NO_LICENSE
    head = card.read_text(encoding="utf-8", errors="replace")[:4096].split("---")
    for line in (head[1] if len(head) > 2 else "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "license" and value.strip().replace("-", "").replace(".", "").isalnum():
            return value.strip()
    return NO_LICENSE


def _write_tokenizer(checkpoint: Checkpoint, path: Path) -> None:
    own = checkpoint.folder / "tokenizer.json"
    if own.is_file():
        shutil.copyfile(own, path)
    else:  # an older checkpoint: transformers converts what it has
        checkpoint.tokenizer.backend_tokenizer.save(str(path))


def _digests(checkpoint: Checkpoint) -> dict[str, CheckpointFile]:
    named = [checkpoint.folder / name for name in READ]
    paths = [*checkpoint.weight_files, *(path for path in named if path.is_file())]
    return {path.name: _measured(path) for path in sorted(paths)}


def _measured(path: Path) -> CheckpointFile:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return CheckpointFile(digest.hexdigest(), path.stat().st_size)
