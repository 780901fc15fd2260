"""What the user's settings and the bundle come to: the numbers that every frame is sent with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from saccade.client import EncodeOptions
from saccade.codecs.base import MAX_LAYERS
from saccade.errors import ConfigError
from saccade.manifest import Manifest, OperatingPoint, TokensByKind
from saccade.selection import QUOTAS, UNGUIDED
from saccade.selection.needs import missing
from saccade.types import Region, ViewKind
from saccade_edge.gate import GateSettings
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.views import Closeup, holder

# The codec where neither the user nor an operating point says one, if the bundle has it.
USUAL_CODEC = "int8z"


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """``encode``: as the SDK knows it; its ``threads`` are of no account here, see ``runtime``.
    ``quota``: shares anew what all views have; None: as they are. ``layers``: the most that a
    packet carries; None: as the operating point says.

    ``overview``: whether frames with crops have one. ``images``: how many images the prompts will
    have, for families that cut only a single one into tiles; None: as many as a frame has views.

    ``epoch_unix_ms`` and ``camera_index`` are those of the session that will carry the packets.
    """

    encode: EncodeOptions = field(default_factory=EncodeOptions)
    quota: str | None = None
    layers: int | None = None
    overview: bool = True
    images: int | None = None
    epoch_unix_ms: int = 0
    camera_index: int = 0
    gate: GateSettings = field(default_factory=GateSettings)
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)


@dataclass(frozen=True, slots=True)
class Plan:
    """Settled and within the bundle's limits. ``crop_labels``: regions of other labels get no crop,
    all get one where it is None; ``closeup_labels``: regions that get a view of their own inside
    a crop, and no crop.
    """

    method: str
    tokens: TokensByKind
    codec: str
    max_crops: int
    crop_labels: frozenset[str] | None = None
    max_closeups: int = 0
    layers: int | None = None
    closeup_labels: frozenset[str] = frozenset()
    quota: str | None = None
    overview: bool = True

    def cropped(self, regions: Sequence[Region]) -> list[Region]:
        """The regions that get a crop, in their order."""
        wanted = self.crop_labels
        worthy = [r for r in regions if wanted is None or r.label in wanted]
        return [r for r in worthy if r.label not in self.closeup_labels][: self.max_crops]

    def closeups(self, regions: Sequence[Region], crops: Sequence[Region]) -> list[Closeup]:
        """What to look at closely in ``crops``, at most one region in each, the surest."""
        found: dict[int, Region] = {}
        for region in sorted(regions, key=lambda r: -r.score):
            slot = holder(region, crops) if region.label in self.closeup_labels else None
            if slot is not None and slot not in found:
                found[slot] = region
        return [Closeup(slot, found[slot]) for slot in sorted(found)][: self.max_closeups]

    def budgets(self, kinds: Sequence[ViewKind]) -> list[int]:
        """Tokens for each of the views."""
        return [self.tokens.of(kind) for kind in kinds]


def settle(manifest: Manifest, settings: PipelineSettings) -> Plan:
    """Fill in the bundle's defaults. Raises ``ConfigError`` for what it does not allow."""
    point = _point(manifest, settings.encode.point)
    codec = settings.encode.codec or (point.codec if point else _usual(manifest))
    # Another codec's layers are others.
    layers = point.layers if point and point.codec == codec else None
    plan = Plan(
        method=settings.encode.method or manifest.selection.method,
        tokens=_tokens(manifest, settings, point),
        codec=codec,
        max_crops=_or(settings.encode.max_crops, point.crops if point else manifest.most_crops),
        crop_labels=_crop_labels(manifest, settings.encode.detector),
        max_closeups=manifest.most_closeups,
        layers=layers if settings.layers is None else settings.layers,
        closeup_labels=frozenset(manifest.detector.closeups if manifest.detector else ()),
        quota=settings.quota,
        overview=settings.overview,
    )
    _check_known("selection method", plan.method, UNGUIDED)
    if lacking := missing(plan.method, manifest.encoder.offers):
        what = ", ".join(lacking)
        raise ConfigError(f"selection method {plan.method} needs {what}: the encoder gives none")
    if not plan.overview and not plan.max_crops:
        raise ConfigError("no overview and no crops: nothing is left to send")
    _check_known("quota", plan.quota or "equal", QUOTAS)
    _check_known("codec", plan.codec, manifest.codecs)
    if settings.encode.tokens_per_view is not None:
        _check_range("tokens per view", settings.encode.tokens_per_view, 1, manifest.most_tokens)
    if plan.layers is not None:
        _check_range("layers", plan.layers, 1, MAX_LAYERS)
    _check_range("crops", plan.max_crops, 0, manifest.most_crops)
    return plan


def _crop_labels(manifest: Manifest, detector: str | None) -> frozenset[str] | None:
    """Only the bundle's own detector speaks the bundle's labels."""
    spec = manifest.detector
    if spec is None or not spec.crops or detector not in (None, "yolo"):
        return None
    return frozenset(spec.crops)


def _point(manifest: Manifest, chosen: int | None) -> OperatingPoint | None:
    """The operating point ``chosen``, else the bundle's own, if it has one."""
    number = manifest.selection.point if chosen is None else chosen
    if number is None:
        return None
    if not manifest.points:
        raise ConfigError(f"operating point {number}: the bundle has none, see calibrate")
    _check_range("as operating point", number, 0, len(manifest.points) - 1)
    return manifest.points[number]


def _tokens(
    manifest: Manifest, settings: PipelineSettings, point: OperatingPoint | None
) -> TokensByKind:
    if point and settings.encode.tokens_per_view is None:
        return point.tokens
    usual = manifest.selection.tokens_per_view
    return TokensByKind.alike(_or(settings.encode.tokens_per_view, usual))


def _usual(manifest: Manifest) -> str:
    return USUAL_CODEC if USUAL_CODEC in manifest.codecs else manifest.codecs[0]


def _or(chosen: int | None, default: int) -> int:
    """``chosen`` also where it is 0: zero crops is a choice."""
    return default if chosen is None else chosen


def _check_known(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ConfigError(f"unknown {what} {name!r}, the bundle allows: {', '.join(known)}")


def _check_range(what: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise ConfigError(f"{number} {what}: the bundle allows {least} to {most}")
