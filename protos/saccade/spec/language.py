"""The cloud's half of the model: where it is, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MOST = (1 << 31) - 1  # beyond it a number fits no tensor's shape
INPUTS = ("features", "ids", "slots", "boxes", "kinds")


@dataclass(frozen=True, slots=True)
class ProjectorSpec:
    """A graph that makes embeddings [K, width] float32 of tokens, one by one.

    ``inputs``: what it takes: "features" [K, D] float32; and, where the model was trained to know
    it, "ids" [K], "slots" [K] and "kinds" [K] int64, "boxes" [K, 4] float32.
    """

    file: str
    inputs: tuple[str, ...] = ("features",)
    output: str = "embeds"


@dataclass(frozen=True, slots=True)
class OnnxLanguage:
    """The language model as ONNX files, for the ``onnx`` engine."""

    embedding: str
    decoder: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file of a checkpoint that stays where it is."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """The checkpoint for the ``transformers`` engine: ``files`` by their paths in its folder,
    ``architecture`` as its configuration says.
    """

    architecture: str
    files: Mapping[str, CheckpointFile]


@dataclass(frozen=True, slots=True)
class LanguageSpec:
    """``width`` of embeddings, ``vocab`` size, ``max_tokens`` of an answer, ``max_context`` of
    prompt and answer; ``tokenizer``: the file.

    ``projector``: of the part "main"; None: features are embeddings. ``part_projectors``: of other
    parts, those that are not named pass unchanged. At least one of ``onnx`` and ``checkpoint``
    says where the language model is.
    """

    width: int
    vocab: int
    max_tokens: int
    max_context: int
    tokenizer: str
    projector: ProjectorSpec | None = None
    part_projectors: Mapping[str, ProjectorSpec] = field(default_factory=dict)
    onnx: OnnxLanguage | None = None
    checkpoint: CheckpointRef | None = None

    @property
    def files(self) -> frozenset[str]:
        """All that it names in the bundle."""
        return frozenset({self.tokenizer} | self.models)

    @property
    def models(self) -> frozenset[str]:
        """The ONNX models among its files."""
        projectors = [*([self.projector] if self.projector else []), *self.part_projectors.values()]
        names = {projector.file for projector in projectors}
        return frozenset(names | ({self.onnx.embedding, self.onnx.decoder} if self.onnx else set()))

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        problems = []
        numbers = {
            name: getattr(self, name) for name in ("width", "vocab", "max_tokens", "max_context")
        }
        if self.onnx is not None:
            for name in ("layers", "heads", "kv_heads", "head_dim"):
                numbers[f"onnx.{name}"] = getattr(self.onnx, name)
        problems += [
            f"{name} is {number}, 1..{MOST} are possible"
            for name, number in numbers.items()
            if not 1 <= number <= MOST
        ]
        if self.onnx is not None and not problems and self.onnx.heads % self.onnx.kv_heads:
            problems.append(f"onnx.heads is {self.onnx.heads}, kv_heads {self.onnx.kv_heads}")
        if self.onnx is None and self.checkpoint is None:
            problems.append("onnx and checkpoint are both missing")
        for name, projector in self._named():
            odd = [i for i in projector.inputs if i not in INPUTS]
            if odd or "features" not in projector.inputs:
                problems.append(f"{name}.inputs are {[i[:40] for i in projector.inputs[:9]]}")
        return problems

    def _named(self) -> list[tuple[str, ProjectorSpec]]:
        named = [("projector", self.projector)] if self.projector else []
        parts = self.part_projectors.items()
        return [*named, *((f"part_projectors[{name[:40]!r}]", spec) for name, spec in parts)]
