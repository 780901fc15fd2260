"""What a bundle says about itself: `manifest.json`, format version 2, as frozen dataclasses."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from saccade import manifest_ranges, schema
from saccade.bounded_json import shown
from saccade.errors import BundleError
from saccade.spec import EncoderSpec, LanguageSpec, PromptSpec
from saccade.types import ViewKind

FORMAT = 2
MAX_DOMAIN_CHARS = 200  # it is shown on one line, and travels with answers
CROP = "{crop}"
MAX_PROBLEMS = 20  # that one message lists
MAX_VIEWS = 64  # of a frame
MAX_VIEW_VALUES = 1 << 28  # features of a view: 1 GiB as float32


@dataclass(frozen=True, slots=True)
class RegionSpec:
    """The views beside the whole picture that the bundle's model takes.

    ``crop_margin`` and ``closeup_margin``: share of a region's size added on each side;
    ``crop_min_px``: least window, in pixels of the frame; ``aspect``: of the windows: "tile", as
    the encoder's tiles are, or "free", as the regions are.
    """

    max_crops: int
    crop_margin: float = 0.1
    crop_min_px: float = 32.0
    max_closeups: int = 0
    closeup_margin: float = 0.0
    aspect: str = "free"


NO_REGIONS = RegionSpec(max_crops=0)


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
    serialised packet, mean; ``agreement``: share of the answers' tokens that stay the model's
    first choice, against all visual tokens, uncoded (0..1); see ``saccade_calibration``.
    """

    crops: int
    tokens: TokensByKind
    codec: str
    layers: int
    bytes: float
    agreement: float


@dataclass(frozen=True, slots=True)
class QuestionSpec:
    """What may be asked. ``chars``: the most of a question, all its turns together; ``frames``:
    the most frames that it can be about, 0: any number.

    ``examples``: questions that it was made for, "{crop}" stands for the number of
    each crop, "{closeup}" for the number of each crop that has a close-up;
    ``crop_name``: what a question calls a crop, as in "vehicle {crop}", empty where questions name
    none; ``words``: the only words that a question may use, empty where any may. Capitals do not
    count.
    """

    chars: int = 32_768
    frames: int = 0
    examples: tuple[str, ...] = ()
    crop_name: str = ""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of the bundle. ``license``: an SPDX expression."""

    sha256: str
    bytes: int
    license: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of it. ``family``: a name for people. ``domain``: in a sentence, what the model was
    trained to see: answers about anything else are guesses.

    ``digest``: 64 hex digits over everything else, see `digest_of`; ``token_digest``: over what a
    token means, see `token_digest_of`; two ends with the same one understand each other.
    ``codec_tables``: the file of each codec that is calibrated for the encoder; ``regions``: None
    where there is only the whole picture; ``clip_of``: the installed bundle whose sample clip shows
    what this one was made for; ``points``: from the smallest to the best, none worse and larger
    than another.
    """

    format: int
    name: str
    family: str
    domain: str
    digest: str
    token_digest: str
    encoder: EncoderSpec
    selection: SelectionSpec
    codecs: tuple[str, ...]
    prompt: PromptSpec
    language: LanguageSpec
    files: Mapping[str, FileEntry]
    regions: RegionSpec | None = None
    questions: QuestionSpec = field(default_factory=QuestionSpec)
    detector: DetectorSpec | None = None
    codec_tables: Mapping[str, str] = field(default_factory=dict)
    clip_of: str = ""
    points: tuple[OperatingPoint, ...] = ()
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most_crops(self) -> int:
        """Of a frame."""
        return self.regions.max_crops if self.regions else 0

    @property
    def most_closeups(self) -> int:
        """Of a frame."""
        return self.regions.max_closeups if self.regions else 0

    @property
    def most_views(self) -> int:
        """Of a frame, the overview among them."""
        return 1 + self.most_crops + self.most_closeups

    @property
    def most_tokens(self) -> int:
        """Of a view."""
        return self.encoder.geometry.most_tokens

    def models(self) -> frozenset[str]:
        """The files that are ONNX models."""
        names = set(self.encoder.files.values()) | self.language.models
        return frozenset(names | ({self.detector.file} if self.detector else set()))

    def edge_files(self) -> frozenset[str]:
        """All that an edge opens."""
        names = {*self.encoder.files.values(), *self.encoder.data, *self.codec_tables.values()}
        return frozenset(names | ({self.detector.file} if self.detector else set()))


def digest_of(fields: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes) of the manifest as canonical JSON: keys sorted, no spaces, ASCII, without
    the digest itself. The files' own digests are in it, so it settles every byte of the bundle.
    """
    return _sha256({key: value for key, value in fields.items() if key != "digest"})


def token_digest_of(fields: Mapping[str, Any]) -> bytes:
    """SHA-256 (32 bytes), likewise, of what a token means: the encoder with its geometry,
    preprocessing and files, the codecs with their tables, and the labels that travel by number.

    Another language model, prompt or operating point does not change it. ``fields`` fit the
    schema.
    """
    encoder, files = fields["encoder"], fields["files"]
    tables = fields.get("codec_tables") or {}
    detector = fields.get("detector") or {}
    names = [*(bucket["file"] for bucket in encoder["buckets"]), *encoder.get("data", ())]
    return _sha256(
        {
            "encoder": encoder,
            "files": {name: files[name]["sha256"] for name in names},
            "codecs": {
                codec: files[tables[codec]]["sha256"] if codec in tables else ""
                for codec in fields["codecs"]
            },
            "labels": detector.get("labels", ()),
        }
    )


def _sha256(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode("ascii")).digest()


def parse(fields: Any) -> Manifest:  # noqa: ANN401 - whatever json.loads gave
    """The manifest in a JSON value. Raises BundleError that lists all that is wrong with its shape
    and numbers; `saccade.bundle_names` checks the names of what this version has.
    """
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
    if manifest is None:
        problems = problems or ["it is no object"]
    refuse(problems)
    assert manifest is not None
    return manifest


def refuse(problems: Sequence[str]) -> None:
    """Raises BundleError that lists them, if there are any."""
    if problems:
        more = len(problems) - MAX_PROBLEMS
        listed = [*problems[:MAX_PROBLEMS], *([f"and {more} more"] if more > 0 else ())]
        raise BundleError(f"the manifest is wrong: {'; '.join(listed)}")


def _contradictions(manifest: Manifest) -> Iterator[str]:
    """What fits the schema and still can't be."""
    yield from manifest_ranges.violations(manifest)
    for name in ("encoder", "prompt", "language"):
        yield from (f"{name}.{problem}" for problem in getattr(manifest, name).problems())
    yield from (
        f"{name[:80]} is not in files" for name in _referenced(manifest) - set(manifest.files)
    )
    yield from _text_contradictions(manifest)
    if not manifest.encoder.geometry.problems():  # else there is no number of tokens
        yield from _count_contradictions(manifest)


def _count_contradictions(manifest: Manifest) -> Iterator[str]:
    most, chosen = manifest.most_tokens, manifest.selection.tokens_per_view
    if not 1 <= chosen <= most:
        yield f"selection.tokens_per_view is {chosen}, 1..{most} are allowed"
    if most * manifest.encoder.tokens.dim > MAX_VIEW_VALUES:
        yield f"a view has {most} tokens of {manifest.encoder.tokens.dim} features: too many"
    if manifest.most_views > MAX_VIEWS:
        yield f"a frame has {manifest.most_views} views, {MAX_VIEWS} are possible"
    language = manifest.language
    projected = {"main"} if language.projector else set()
    for part in manifest.encoder.tokens.parts:
        bare = part.name not in projected | set(language.part_projectors)
        if bare and part.width != language.width:
            yield (
                f"encoder.tokens: part {part.name[:40]} is {part.width} wide and has no "
                f"projector, language.width is {language.width}"
            )
    yield from _point_contradictions(manifest)


def _text_contradictions(manifest: Manifest) -> Iterator[str]:
    """What is shown to people, and what their questions are compared with."""
    domain, questions = manifest.domain, manifest.questions
    if not domain.strip() or not domain.isprintable():
        yield f"domain is {shown(domain)}, it is one line of text"
    if len(domain) > MAX_DOMAIN_CHARS:
        yield f"domain has {len(domain)} characters, {MAX_DOMAIN_CHARS} are allowed"
    if questions.crop_name and questions.crop_name.count(CROP) != 1:
        yield f"questions.crop_name is {shown(questions.crop_name)}, it holds {CROP} once"
    odd = [word for word in questions.words if len(word.split()) != 1]
    if odd:
        yield f"questions.words holds {shown(odd)}: each is one word"


def _point_contradictions(manifest: Manifest) -> Iterator[str]:
    points, most = manifest.points, manifest.most_tokens
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
        if not 0 <= point.crops <= manifest.most_crops:
            yield f"{where}.crops is {point.crops}, 0..{manifest.most_crops} are allowed"
        if point.codec not in manifest.codecs:
            yield f"{where}.codec {shown(point.codec)} is not in codecs"
    pairs = itertools.pairwise(points)
    if any(b.bytes <= a.bytes or b.agreement <= a.agreement for a, b in pairs):
        yield "points do not rise in bytes and agreement"


def _referenced(manifest: Manifest) -> set[str]:
    prompt = {manifest.prompt.chat_template, *manifest.prompt.vectors.values()}
    return {*manifest.edge_files(), *manifest.language.files, *prompt}
