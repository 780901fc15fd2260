"""From kept tokens back to visual tokens: check, project, put in order.

Visual order is the bundle's: the overview first, then the crops, then the close-ups, ids
ascending inside a view. A close-up has its crop's slot: what it shows belongs to that thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import EngineError, PacketError
from saccade.limits import Limits, check
from saccade.spec import LanguageSpec, ProjectorSpec, TokenSpec, ViewLayout
from saccade.types import F32, FrameTokens, ViewTokens
from saccade_cloud.onnx_graph import Graph
from saccade_cloud.visual_frame import VisualFrame, VisualImage

Feeds = Mapping[str, npt.NDArray[Any]]
MAX_BATCH = 4096  # tokens in one run of a projector: its memory does not grow with a frame


@dataclass(frozen=True, slots=True)
class Projectors:
    """What becomes of a token's features. ``main``: the projector of the part "main", None where
    features are embeddings; ``parts``: of other parts, by name; ``width``: of embeddings.
    """

    tokens: TokenSpec
    width: int
    main: tuple[ModelFile, ProjectorSpec] | None = None
    parts: Mapping[str, tuple[ModelFile, ProjectorSpec]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, language: LanguageSpec, tokens: TokenSpec, model: Callable[[str], ModelFile]
    ) -> Projectors:
        """``model``: a bundle's file by its name."""

        def opened(spec: ProjectorSpec) -> tuple[ModelFile, ProjectorSpec]:
            return model(spec.file), spec

        return cls(
            tokens,
            language.width,
            opened(language.projector) if language.projector else None,
            {name: opened(spec) for name, spec in language.part_projectors.items()},
        )


class Reconstructor:
    """Projects a frame's tokens to embeddings. Safe to call from several threads.

    Raises ``PacketError`` and ``LimitExceeded`` for tokens that do not fit ``limits``,
    ``EngineError`` when a projector gives something that is not a finite [K, width].
    """

    def __init__(self, projectors: Projectors, limits: Limits) -> None:
        self._limits = limits
        self._width = projectors.width
        self._slices = projectors.tokens.slices()
        files = {**projectors.parts, **({"main": projectors.main} if projectors.main else {})}
        self._graphs = {
            name: (Graph(file, spec.inputs, (spec.output,)), spec.inputs)
            for name, (file, spec) in files.items()
        }

    def __call__(self, frame: FrameTokens) -> VisualFrame:
        """The frame's images, in their order."""
        self.check(frame)
        feeds = _feeds(frame)
        main, *deep = (self._part(name, where, feeds) for name, where in self._slices.items())
        deepstack = np.stack(deep) if deep else None
        images, start = [], 0
        for view in frame.views:
            part = slice(start, start + len(view.tokens.ids))
            start = part.stop
            images.append(
                VisualImage(
                    layout=self._layout(frame, view),
                    ids=view.tokens.ids,
                    embeds=main[part],
                    kind=view.kind,
                    window=view.window,
                    deepstack=None if deepstack is None else deepstack[:, part],
                    owners=view.tokens.owners,
                    label=view.label,
                )
            )
        return VisualFrame(tuple(images))

    def check(self, frame: FrameTokens) -> None:
        """Raises ``PacketError`` and ``LimitExceeded`` for a frame that has no visual tokens."""
        if not frame.kept:
            raise PacketError(f"frame {frame.sequence} has no tokens")
        slots = [view.slot for view in frame.views]
        # Without an overview slots begin at 1, and a frame has as many views.
        most = self._limits.views if slots[0] == 0 else self._limits.views + 1
        if slots != sorted(set(slots)) or slots[0] < 0 or slots[-1] >= most:
            raise PacketError(f"slots {slots} do not ascend within 0..{self._limits.views - 1}")
        for view in frame.views:
            if view.closeup_of is not None and not 1 <= view.closeup_of < view.slot:
                raise PacketError(f"view {view.slot} is a close-up of view {view.closeup_of}")
            self._check_view(frame, view)

    def _layout(self, frame: FrameTokens, view: ViewTokens) -> ViewLayout:
        return self._limits.layout(frame.size, view.window, frame.laid_out_for)

    def _check_view(self, frame: FrameTokens, view: ViewTokens) -> None:
        """What the type itself does not promise: that it is of this bundle, and finite."""
        tokens, limits = view.tokens, self._limits
        if not np.isfinite(view.window).all():
            raise PacketError(f"view {view.slot} has the window {view.window}")
        check(f"tokens in view {view.slot}", len(tokens.ids), limits.tokens_per_view)
        grid = self._layout(frame, view).grid
        if tokens.grid != grid:
            raise PacketError(f"view {view.slot} has grid {tokens.grid}, the bundle's is {grid}")
        if tokens.features.shape[1] != limits.dim:
            raise PacketError(
                f"view {view.slot} has features {tokens.features.shape[1]} wide, "
                f"the bundle's are {limits.dim}"
            )
        if not np.isfinite(tokens.features).all():
            raise PacketError(f"view {view.slot} has features that are not finite")

    def _part(self, name: str, where: slice, feeds: Feeds) -> F32:
        """One part of all tokens, [K, width] float32."""
        features = np.ascontiguousarray(feeds["features"][:, where], np.float32)
        if name not in self._graphs:
            self._check_embeds(features, len(features))
            return features
        graph, inputs = self._graphs[name]
        fed = {key: feeds[key] for key in inputs} | {"features": features}
        parts = [
            graph.run({key: value[start : start + MAX_BATCH] for key, value in fed.items()})[0]
            for start in range(0, len(features), MAX_BATCH)
        ]
        embeds = np.concatenate(parts)
        self._check_embeds(embeds, len(features))
        return embeds

    def _check_embeds(self, embeds: F32, count: int) -> None:
        if embeds.shape != (count, self._width):
            raise EngineError(f"the projector gave {embeds.shape}, expected {(count, self._width)}")
        if not np.isfinite(embeds).all():
            raise EngineError("the projector gave embeddings that are not finite")


def _feeds(frame: FrameTokens) -> Feeds:
    """All that a projector can ask for, of all tokens of the frame."""
    counts = [len(view.tokens.ids) for view in frame.views]
    slots = [view.slot if view.closeup_of is None else view.closeup_of for view in frame.views]
    kinds = [_kind(view) for view in frame.views]
    windows = np.array([view.window for view in frame.views], np.float32)
    return {
        "features": np.concatenate([view.tokens.features for view in frame.views]),
        "ids": np.concatenate([view.tokens.ids for view in frame.views]).astype(np.int64),
        "slots": np.repeat(np.array(slots, np.int64), counts),
        "boxes": np.repeat(windows, counts, axis=0),
        "kinds": np.repeat(np.array(kinds, np.int64), counts),
    }


def _kind(view: ViewTokens) -> int:
    """0 overview, 1 crop, 2 close-up, as the projector knows them."""
    return 2 if view.closeup_of is not None else min(view.slot, 1)
