"""A frame's way through the edge, from the picture to the packet. Nothing here knows a network.

One pipeline serves one camera: its gate and its detector remember what came before. The encoder
remembers nothing and may be shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from saccade import codecs
from saccade import packet as packets
from saccade.bundle import Bundle
from saccade.manifest import Manifest
from saccade.selection import allot, select
from saccade.spec import ViewLayout
from saccade.types import (
    Frame,
    FrameTokens,
    Region,
    Timing,
    TokenGrid,
    TokenSet,
    View,
    ViewTokens,
)
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import wire_window
from saccade_edge.detect import make_detector, prioritise
from saccade_edge.encode import Encoder
from saccade_edge.gate import Gate, Verdict
from saccade_edge.plan import PipelineSettings, Plan, settle
from saccade_edge.stopwatch import Stopwatch
from saccade_edge.views import Cutter, normalised


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """What was seen in a frame: ``views[i]`` was encoded to ``tokens.views[i]``."""

    regions: tuple[Region, ...]
    views: tuple[View, ...]
    tokens: FrameTokens


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One frame's outcome; ``encoded`` and ``packet`` are None where the gate skipped it."""

    frame: Frame
    verdict: Verdict
    timing: Timing
    encoded: EncodedFrame | None = None
    packet: pb.FramePacket | None = None


class Pipeline:
    """Raises ``ConfigError`` for settings that the bundle does not allow."""

    def __init__(
        self,
        bundle: Bundle,
        settings: PipelineSettings | None = None,
        *,
        encoder: Encoder | None = None,
    ) -> None:
        self.settings = settings or PipelineSettings()
        self.plan = settle(bundle.manifest, self.settings)
        self.encoder = encoder or Encoder(bundle, self.settings.runtime)
        self._detector = make_detector(self.settings.encode.detector, bundle, self.settings.runtime)
        self._cutter = Cutter.of(bundle.manifest, self.settings.images)
        self._labels = _travelling_labels(bundle.manifest)
        self._codecs = codecs.of(bundle)
        self._codecs.get(self.plan.codec)  # tables that are damaged show at the start
        self.gate = Gate(self.settings.gate)
        self._most_per_view = bundle.manifest.most_tokens
        self._watch = Stopwatch()  # of the last look

    @property
    def stage(self) -> str:
        """The stage that the last `look` came to: where it failed, if it did."""
        return self._watch.last

    def process(self, frame: Frame, *, plan: Plan | None = None) -> FrameResult:
        """The frame's packet, or nothing where it shows nothing new.

        ``plan``: of this frame, from its budget; None: the settings'.

        Raises what the stages raise, `stage` says which; the gate then forgets the frame.
        """
        try:
            return self._process(frame, plan or self.plan)
        except BaseException:
            self.gate.take_back()
            raise

    def _process(self, frame: Frame, plan: Plan) -> FrameResult:
        self._watch = watch = Stopwatch()
        with watch.stage("gate"):
            verdict = self.gate.judge(frame)
        if verdict.kind == "skip":
            return FrameResult(frame, verdict, watch.timing())
        encoded = self.encode(frame, watch, plan=plan)
        with watch.stage("code"):
            packet = packets.pack(
                encoded.tokens,
                plan.codec,
                epoch_unix_ms=self.settings.epoch_unix_ms,
                camera_index=self.settings.camera_index,
                codecs=self._codecs,
                layers=plan.layers,
                labels=self._labels,
            )
        return FrameResult(frame, verdict, watch.timing(), encoded, packet)

    def encode(
        self,
        frame: Frame,
        watch: Stopwatch,
        *,
        plan: Plan | None = None,
    ) -> EncodedFrame:
        """The frame's tokens, whether or not they are new."""
        plan = plan or self.plan
        overview = _Overview(self, frame, watch)
        regions, views = self.find(frame, watch, plan, overview)
        with watch.stage("encode"):
            grids = self._encode(views, overview)
        with watch.stage("select"):
            budgets = self._budgets(plan, views, grids)
            tokens = _select(frame, plan, views, grids, budgets, self.settings.images or 0)
        return EncodedFrame(tuple(regions), tuple(views), tokens)

    def find(
        self, frame: Frame, watch: Stopwatch, plan: Plan, overview: Callable[[], TokenGrid]
    ) -> tuple[list[Region], list[View]]:
        """The frame's regions, the most important first, and the views that show them.
        ``overview``: the first view's tokens, for detectors that ask for them.
        """
        with watch.stage("detect"):
            regions = prioritise(self._detector.find(frame, overview))
        with watch.stage("views"):
            crops = plan.cropped(regions)
            closeups = plan.closeups(regions, crops)
            overview_too = plan.overview or not crops
            views = self._cutter.views(frame, crops, closeups, overview=overview_too)
        return regions, views

    def _encode(self, views: Sequence[View], overview: _Overview) -> list[TokenGrid]:
        """All views, but the overview only where the detector has not asked for it already, in the
        layout that it has beside the others.
        """
        known, first = overview.grid, views[0]
        if known is None or first.kind != "overview" or known.grid != first.layout.grid:
            return self.encoder.encode(views)
        return [known, *self.encoder.encode(views[1:])]

    def _budgets(
        self,
        plan: Plan,
        views: Sequence[View],
        grids: Sequence[TokenGrid],
    ) -> Sequence[int]:
        """Tokens for each view. A quota shares anew what all views together have."""
        budgets = plan.budgets([view.kind for view in views])
        if plan.quota is None:
            return budgets
        windows = [view.window for view in views]
        return allot(grids, windows, sum(budgets), method=plan.quota, most=self._most_per_view)


class _Overview:
    """The frame's overview, encoded when a detector asks for it and kept for the pipeline."""

    def __init__(self, pipeline: Pipeline, frame: Frame, watch: Stopwatch) -> None:
        self._pipeline = pipeline
        self._frame = frame
        self._watch = watch
        self.grid: TokenGrid | None = None

    def __call__(self) -> TokenGrid:
        if self.grid is None:
            with self._watch.stage("encode"):
                view = self._pipeline._cutter.overview(self._frame)
                (self.grid,) = self._pipeline.encoder.encode([view])
        return self.grid


def _select(
    frame: Frame,
    plan: Plan,
    views: Sequence[View],
    grids: Sequence[TokenGrid],
    budgets: Sequence[int],
    images: int,
) -> FrameTokens:
    """``budgets``: tokens of each view."""
    kept = [
        _kept(view.layout, grid, budget, plan.method)
        for view, grid, budget in zip(views, grids, budgets, strict=True)
    ]
    placed = zip(views, kept, strict=True)
    first = 0 if views[0].kind == "overview" else 1
    return FrameTokens(
        sequence=frame.sequence,
        camera=frame.camera,
        captured_ns=frame.captured_ns,
        size=frame.size,
        views=tuple(
            ViewTokens(
                slot,
                # Rounded as the wire rounds: what is computed here is what the cloud sees.
                wire_window(normalised(view.window, frame.size)),
                tokens,
                view.region.label if view.region else "",
                view.region.score if view.region else 0.0,
                view.closeup_of,
            )
            for slot, (view, tokens) in enumerate(placed, first)
        ),
        images=images,
    )


def _kept(layout: ViewLayout, grid: TokenGrid, budget: int, method: str) -> TokenSet:
    """At most ``budget`` of the tokens that show something."""
    if not layout.padded:
        return select(grid, min(budget, len(grid.features)), method=method)
    visible = layout.visible()
    shown = TokenGrid(
        grid.features[visible],
        grid.saliency[..., visible],
        grid.keys[visible],
        (1, 1, len(visible)),
    )
    chosen = select(shown, min(budget, len(visible)), method=method)
    owners = None
    if chosen.owners is not None:
        owners = np.full(len(grid.features), -1, np.int32)
        owners[visible] = np.where(chosen.owners < 0, -1, visible[chosen.owners])
    return TokenSet(chosen.features, visible[chosen.ids], grid.grid, chosen.order, owners)


def _travelling_labels(manifest: Manifest) -> tuple[str, ...]:
    """The detector's labels, where the bundle's prompts name them."""
    named = "{label}" in manifest.prompt.region_intro
    return manifest.detector.labels if named and manifest.detector else ()
