"""What a token is made of, and the graphs that make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from saccade.spec.geometry import AnyGrid, Size
from saccade.spec.preprocess import Preprocess

MAX_WIDTH = 1 << 20
MAIN = "main"
DEEPSTACK = "deepstack-"  # with its number, from 0


@dataclass(frozen=True, slots=True)
class TokenPart:
    """``width`` features. "main" becomes the embedding; "deepstack-0", "deepstack-1", ... are
    added to the hidden states of the language model's first layers (Qwen3-VL).
    """

    name: str
    width: int


@dataclass(frozen=True, slots=True)
class TokenSpec:
    """``parts``: side by side in a token's features, "main" first. ``cut``: in a sentence, after
    which step of the model they are taken; what follows is per token.
    """

    parts: tuple[TokenPart, ...]
    cut: str = ""

    @property
    def dim(self) -> int:
        """Features per token."""
        return sum(part.width for part in self.parts)

    @property
    def deepstack(self) -> int:
        """How many deepstack parts there are."""
        return len(self.parts) - 1

    def slices(self) -> dict[str, slice]:
        """Where each part lies in a token's features."""
        places, start = {}, 0
        for part in self.parts:
            places[part.name] = slice(start, start + part.width)
            start += part.width
        return places

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        names = [part.name for part in self.parts]
        expected = [MAIN, *(f"{DEEPSTACK}{i}" for i in range(len(names) - 1))]
        problems = []
        if not names or names != expected:
            problems.append(f"parts are {[name[:40] for name in names[:9]]}, not {expected[:9]}")
        wrong = [part for part in self.parts if not 1 <= part.width <= MAX_WIDTH]
        return problems + [f"part {part.name[:40]!r} is {part.width} wide" for part in wrong]


@dataclass(frozen=True, slots=True)
class EncoderOutputs:
    """Names of the output tensors: ``features`` [B, T, D], ``saliency`` [B, L, H, T] and ``keys``
    [B, T, Dk], all float32. The last two are None where the graph has none.
    """

    features: str = "features"
    saliency: str | None = None
    keys: str | None = None


@dataclass(frozen=True, slots=True)
class EncoderBucket:
    """A static graph for tiles of ``size`` (height, width) pixels. ``file``: its model."""

    file: str
    size: Size


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """The edge's vision encoder: uint8 [B, H, W, 3] RGB tiles in, tokens out.

    ``buckets``: one graph for each size that ``geometry`` gives. ``input``: the name of the
    input tensor. ``data``: the files in which the graphs keep their weights, if they do.
    """

    buckets: tuple[EncoderBucket, ...]
    geometry: AnyGrid
    preprocess: Preprocess
    tokens: TokenSpec
    input: str = "views"
    outputs: EncoderOutputs = field(default_factory=EncoderOutputs)
    data: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Features per token."""
        return self.tokens.dim

    @property
    def files(self) -> dict[Size, str]:
        """The graph for each size of tile."""
        return {bucket.size: bucket.file for bucket in self.buckets}

    @property
    def offers(self) -> frozenset[str]:
        """What the encoder gives beside features, as selection methods ask for it."""
        known: Mapping[str, str | None] = {
            "saliency": self.outputs.saliency, "keys": self.outputs.keys,
        }  # fmt: skip
        return frozenset(name for name, output in known.items() if output is not None)

    def problems(self) -> list[str]:
        """A sentence for everything that can't be what it says."""
        parts = {
            "geometry": self.geometry, "preprocess": self.preprocess, "tokens": self.tokens,
        }  # fmt: skip
        problems = [f"{name}.{text}" for name, part in parts.items() for text in part.problems()]
        missing = [size for size in self.geometry.inputs if size not in self.files]
        problems += [f"buckets has no graph for tiles of {h} x {w} pixels" for h, w in missing[:5]]
        if len(self.files) != len(self.buckets):
            problems.append("buckets has two graphs for one size")
        return problems
