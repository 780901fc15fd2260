"""What a bundle says about itself: `manifest.json`, format version 1, as frozen dataclasses."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from saccade import codecs, manifest_ranges, schema
from saccade.bounded_json import shown
from saccade.codecs.base import MAX_LAYERS
from saccade.errors import BundleError
from saccade.selection import METHODS
from saccade.types import Grid, ViewKind

FORMAT = 1
MAX_DOMAIN_CHARS = 200  # it is shown on one line, and travels with answers
CROP = "{crop}"
MAX_PROBLEMS = 20  # that one message lists


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """The encoder's input tensor: ``dtype`` [B, height, width, channels] RGB."""

    name: str
    height: int
    width: int
    channels: int = 3
    dtype: str = "uint8"


@dataclass(frozen=True, slots=True)
class EncoderOutputs:
    """Names of the output tensors: [B, T, D], [B, L, H, T], [B, T, Dk], all float32."""

    features: str = "features"
    saliency: str = "saliency"
    keys: str = "keys"


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """The edge's vision encoder and the views that it was trained on.

    ``grid``: (t, h, w) tokens of a view; ``dim``: features per token; ``crop_margin`` and
    ``closeup_margin``: share of a region's size added on each side; ``crop_min_px``: least window,
    in pixels of the frame.
    """

    file: str
    input: EncoderInput
    grid: Grid
    dim: int
    max_crops: int
    crop_margin: float
    crop_min_px: float
    outputs: EncoderOutputs = field(default_factory=EncoderOutputs)
    max_closeups: int = 0
    closeup_margin: float = 0.0

    @property
    def view_size(self) -> tuple[int, int]:
        """(height, width) of a view, pixels."""
        return self.input.height, self.input.width


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The region detector. ``layout``: one of `saccade.detector_layouts.LAYOUTS`; ``input``:
    (height, width); ``score`` and ``iou``: thresholds, 0..1; ``crops``: the labels that get a
    crop, all where it is empty; ``closeups``: the labels of what is small inside a crop and worth
    a view of its own, text for the most part.

    The others are None where they are as the layout says. ``channels``, ``range``, ``mean``,
    ``std`` (in the unit of ``range``), ``axes``: of the input; ``fit``: how a frame is brought to
    its size; ``pad``: level of the border; ``boxes``: how boxes are written; ``scores``: whether
    a sigmoid is still to be taken.
    """

    file: str
    layout: str
    input: tuple[int, int]
    labels: tuple[str, ...]
    score: float
    iou: float
    crops: tuple[str, ...] = ()
    closeups: tuple[str, ...] = ()
    channels: str | None = None
    range: str | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    axes: str | None = None
    fit: str | None = None
    pad: int | None = None
    boxes: str | None = None
    scores: str | None = None


@dataclass(frozen=True, slots=True)
class SelectionSpec:
    """The selection where nobody chooses. ``point``: index of the operating point; without one,
    every view has ``tokens_per_view``. ``flat_from``: index of the point from which more bytes
    hardly bring agreement, as calibration marks it; None: it is not marked.
    """

    method: str
    tokens_per_view: int
    point: int | None = None
    flat_from: int | None = None


@dataclass(frozen=True, slots=True)
class TokensByKind:
    """Tokens of a view of each kind."""

    overview: int
    crop: int
    closeup: int

    @classmethod
    def alike(cls, tokens: int) -> TokensByKind:
        """The same of every view."""
        return cls(tokens, tokens, tokens)

    def of(self, kind: ViewKind) -> int:
        """Tokens of one view."""
        return {"overview": self.overview, "crop": self.crop, "closeup": self.closeup}[kind]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A way to send frames, with what it costs and keeps, as calibration measured it.

    ``crops``: at most so many, and only their close-ups; ``layers``: of the codec; ``bytes``: of a
    serialised packet, mean; ``agreement``: share of questions with the same answer as from all
    tokens, uncoded (0..1).
    """

    crops: int
    tokens: TokensByKind
    codec: str
    layers: int
    bytes: float
    agreement: float


@dataclass(frozen=True, slots=True)
class LanguageSpec:
    """The cloud's projector, language model and tokenizer.

    ``template``: pieces of the prompt in order; "{visual}" stands for the visual tokens;
    ``examples``: questions that it was made for, "{crop}" stands for the number of
    each crop, "{closeup}" for the number of each crop that has a close-up;
    ``crop_name``: what a question calls a crop, as in "vehicle {crop}", empty where questions name
    none; ``words``: the only words that a question may use, empty where any may. Capitals do not
    count.
    """

    projector: str
    embedding: str
    decoder: str
    tokenizer: str
    layers: int
    heads: int
    head_dim: int
    width: int
    vocab: int
    bos: str
    eos: str
    max_tokens: int
    max_context: int
    template: tuple[str, ...]
    examples: tuple[str, ...] = ()
    crop_name: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BundleLimits:
    """The most that the model was trained for."""

    views: int
    tokens_per_view: int
    question_chars: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle. ``license``: an SPDX expression."""

    sha256: str
    bytes: int
    license: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of it. ``domain``: in a sentence, what the model was trained to see: answers about
    anything else are guesses. ``digest``: 64 hex digits over everything else, see `digest_of`;
    ``codec_tables``: the file of each codec that is calibrated for the encoder; ``points``: from
    the smallest to the best, none worse and larger than another.
    """

    format: int
    name: str
    family: str
    domain: str
    digest: str
    encoder: EncoderSpec
    selection: SelectionSpec
    codecs: tuple[str, ...]
    language: LanguageSpec
    limits: BundleLimits
    files: Mapping[str, FileEntry]
    detector: DetectorSpec | None = None
    codec_tables: Mapping[str, str] = field(default_factory=dict)
    points: tuple[OperatingPoint, ...] = ()
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def models(self) -> frozenset[str]:
        """The files that are ONNX models."""
        language = self.language
        names = {self.encoder.file, language.projector, language.embedding, language.decoder}
        return frozenset(names | ({self.detector.file} if self.detector else set()))


def digest_of(fields: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes) of the manifest as canonical JSON: keys sorted, no spaces, ASCII, without
    the digest itself. The files' own digests are in it, so it settles every byte of the bundle.
    """
    rest = {key: value for key, value in fields.items() if key != "digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode("ascii")).digest()


def parse(fields: Any) -> Manifest:  # noqa: ANN401 - whatever json.loads gave
    """The manifest in a JSON value. Raises BundleError that lists all that is wrong."""
    problems: list[str] = []
    if isinstance(fields, dict) and fields.get("format") != FORMAT:
        raise BundleError(
            f"manifest format {shown(fields.get('format'))}, this version reads format {FORMAT}"
        )
    manifest: Manifest | None = None
    try:
        manifest = schema.read(Manifest, fields, problems)
        problems += _contradictions(manifest)
    except schema.Misfit:
        pass  # the problems say why
    if manifest is None or problems:
        more = len(problems) - MAX_PROBLEMS
        listed = [*problems[:MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else ())]
        raise BundleError(f"the manifest is wrong: {'; '.join(listed)}")
    return manifest


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What fits the schema and still can't be."""
    encoder, limits = manifest.encoder, manifest.limits
    yield from manifest_ranges.violations(manifest)
    places = math.prod(encoder.grid)
    if limits.tokens_per_view > places:
        yield f"limits.tokens_per_view is {limits.tokens_per_view}, the grid has {places}"
    if not 1 <= manifest.selection.tokens_per_view <= limits.tokens_per_view:
        yield (
            f"selection.tokens_per_view is {manifest.selection.tokens_per_view}, "
            f"1..{limits.tokens_per_view} are allowed"
        )
    if encoder.max_crops + encoder.max_closeups + 1 > limits.views:
        yield (
            f"encoder.max_crops and max_closeups are {encoder.max_crops} and "
            f"{encoder.max_closeups}, limits.views allows {limits.views - 1}"
        )
    if manifest.selection.method not in METHODS:
        yield f"selection.method {shown(manifest.selection.method)} is unknown"
    unknown = [name for name in manifest.codecs if name not in codecs.names()]
    if unknown or not manifest.codecs:
        yield f"codecs {shown(unknown)} are unknown" if unknown else "codecs is empty"
    yield from _text_contradictions(manifest)
    yield from _table_contradictions(manifest)
    yield from _point_contradictions(manifest)
    yield from (
        f"{name[:80]} is not in files" for name in _referenced(manifest) - set(manifest.files)
    )


def _text_contradictions(manifest: Manifest) -> Iterator[str]:
    """What is shown to people, and what their questions are compared with."""
    domain, language = manifest.domain, manifest.language
    if not domain.strip() or not domain.isprintable():
        yield f"domain is {shown(domain)}, it is one line of text"
    if len(domain) > MAX_DOMAIN_CHARS:
        yield f"domain has {len(domain)} characters, {MAX_DOMAIN_CHARS} are allowed"
    if language.crop_name and language.crop_name.count(CROP) != 1:
        yield f"language.crop_name is {shown(language.crop_name)}, it holds {CROP} once"
    odd = [word for word in language.words if len(word.split()) != 1]
    if odd:
        yield f"language.words holds {shown(odd)}: each is one word"


def _table_contradictions(manifest: Manifest) -> Iterator[str]:
    calibrated = set(manifest.codecs) & set(codecs.CALIBRATED)
    tables = set(manifest.codec_tables)
    yield from (f"codecs.{name} has no codec_tables" for name in sorted(calibrated - tables))
    yield from (
        f"codec_tables.{name[:80]} belongs to no calibrated codec in codecs"
        for name in sorted(tables - calibrated)
    )


def _point_contradictions(manifest: Manifest) -> Iterator[str]:
    points, most = manifest.points, manifest.limits.tokens_per_view
    default = manifest.selection.point
    if default is not None and not 0 <= default < len(points):
        yield f"selection.point is {default}, there are {len(points)} points"
    flat = manifest.selection.flat_from
    if flat is not None and not 0 <= flat < len(points):
        yield f"selection.flat_from is {flat}, there are {len(points)} points"
    for number, point in enumerate(points):
        where = f"points[{number}]"
        counts = (point.tokens.overview, point.tokens.crop, point.tokens.closeup)
        if not all(1 <= count <= most for count in counts):
            yield f"{where}.tokens are {list(counts)}, 1..{most} are allowed"
        if not 0 <= point.crops <= manifest.encoder.max_crops:
            yield f"{where}.crops is {point.crops}, 0..{manifest.encoder.max_crops} are allowed"
        if point.codec not in manifest.codecs:
            yield f"{where}.codec {shown(point.codec)} is not in codecs"
        if not 1 <= point.layers <= MAX_LAYERS:
            yield f"{where}.layers is {point.layers}, 1..{MAX_LAYERS} are possible"
    pairs = itertools.pairwise(points)
    if any(b.bytes <= a.bytes or b.agreement <= a.agreement for a, b in pairs):
        yield "points do not rise in bytes and agreement"


def _referenced(manifest: Manifest) -> set[str]:
    return {
        *manifest.models(), manifest.language.tokenizer, *manifest.codec_tables.values(),
    }  # fmt: skip
