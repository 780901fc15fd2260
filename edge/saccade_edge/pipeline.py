"""A frame's way through the edge, from the picture to the packet. Nothing here knows a network.

One pipeline serves one camera: its gate and its detector remember what came before. The encoder
remembers nothing and may be shared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saccade import codecs
from saccade import packet as packets
from saccade.bundle import Bundle
from saccade.selection import allot, select
from saccade.types import Box, Frame, FrameTokens, Region, Timing, TokenGrid, View, ViewTokens
from saccade.v1 import tokens_pb2 as pb
from saccade.views_header import wire_window
from saccade_edge.detect import make_detector, prioritise
from saccade_edge.encode import Encoder
from saccade_edge.gate import Gate, Verdict
from saccade_edge.plan import PipelineSettings, Plan, settle
from saccade_edge.stopwatch import Stopwatch
from saccade_edge.views import Cutter


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
        self._detector = make_detector(self.settings.detector, bundle, self.settings.runtime)
        self._cutter = Cutter.of(bundle.manifest.encoder)
        self._codecs = codecs.of(bundle)
        self._codecs.get(self.plan.codec)  # tables that are damaged show at the start
        self.gate = Gate(self.settings.gate)
        self._most_per_view = bundle.manifest.limits.tokens_per_view
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
            grids = self._encode(views, overview.grid)
        with watch.stage("select"):
            budgets = self._budgets(plan, views, grids)
            tokens = _select(frame, plan, views, grids, budgets)
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
            views = self._cutter.views(frame, crops, plan.closeups(regions, crops))
        return regions, views

    def _encode(self, views: Sequence[View], overview: TokenGrid | None) -> list[TokenGrid]:
        """All views, but the overview only where the detector has not asked for it already."""
        if overview is None:
            return self.encoder.encode(views)
        return [overview, *self.encoder.encode(views[1:])]

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
) -> FrameTokens:
    """``budgets``: tokens of each view."""
    kept = [
        select(grid, budget, method=plan.method)
        for grid, budget in zip(grids, budgets, strict=True)
    ]
    placed = zip(views, kept, strict=True)
    return FrameTokens(
        sequence=frame.sequence,
        camera=frame.camera,
        captured_ns=frame.captured_ns,
        size=frame.size,
        views=tuple(
            ViewTokens(
                slot,
                # Rounded as the wire rounds: what is computed here is what the cloud sees.
                wire_window(_normalised(view.window, frame.size)),
                tokens,
                view.region.label if view.region else "",
                view.region.score if view.region else 0.0,
                view.closeup_of,
            )
            for slot, (view, tokens) in enumerate(placed)
        ),
    )


def _normalised(window: Box, size: tuple[int, int]) -> Box:
    height, width = size
    x0, y0, x1, y1 = window
    return (x0 / width, y0 / height, x1 / width, y1 / height)
