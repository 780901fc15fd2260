"""From kept tokens back to a visual segment: project, put in place, check.

Visual order is the bundle's: the overview first, then the crops, then the close-ups, ids
ascending inside a view. A close-up has its crop's slot: what it shows belongs to that thing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import EngineError, PacketError
from saccade.limits import Limits, check
from saccade.types import F32, I32, FrameTokens, Grid, ViewTokens
from saccade_cloud.onnx_graph import Graph
from saccade_cloud.prompt import VisualSegment


class Reconstructor:
    """Projects a frame's tokens to embeddings ``width`` wide. Safe to call from several threads.

    Raises ``PacketError`` and ``LimitExceeded`` for tokens that do not fit ``limits``,
    ``EngineError`` when the projector gives something that is not a finite [K, width].
    """

    def __init__(self, projector: ModelFile, limits: Limits, width: int) -> None:
        inputs = ("features", "ids", "slots", "boxes", "kinds")
        self._projector = Graph(projector, inputs, ("embeds",))
        self._limits = limits
        self._width = width

    def __call__(self, frame: FrameTokens) -> VisualSegment:
        """The frame's visual segment: embeds [K, width] float32, positions [K, 3] int32."""
        self.check(frame)
        counts = [len(view.tokens.ids) for view in frame.views]
        slots = [view.slot if view.closeup_of is None else view.closeup_of for view in frame.views]
        kinds = [_kind(view) for view in frame.views]
        windows = np.array([view.window for view in frame.views], np.float32)
        ids = np.concatenate([view.tokens.ids for view in frame.views]).astype(np.int64)
        feeds = {
            "features": np.concatenate([view.tokens.features for view in frame.views]),
            "ids": ids,
            "slots": np.repeat(np.array(slots, np.int64), counts),
            "boxes": np.repeat(windows, counts, axis=0),
            "kinds": np.repeat(np.array(kinds, np.int64), counts),
        }
        embeds = self._projector.run(feeds)[0]
        self._check_embeds(embeds, len(ids))
        order = np.repeat(np.array([view.slot for view in frame.views], np.int64), counts)
        return VisualSegment(embeds, positions(ids, order, self._limits.grid))

    def check(self, frame: FrameTokens) -> None:
        """Raises ``PacketError`` and ``LimitExceeded`` for a frame that has no visual segment."""
        if not frame.kept:
            raise PacketError(f"frame {frame.sequence} has no tokens")
        slots = [view.slot for view in frame.views]
        if slots != sorted(set(slots)) or slots[0] < 0 or slots[-1] >= self._limits.views:
            raise PacketError(f"slots {slots} do not ascend within 0..{self._limits.views - 1}")
        for view in frame.views:
            if view.closeup_of is not None and not 1 <= view.closeup_of < view.slot:
                raise PacketError(f"view {view.slot} is a close-up of view {view.closeup_of}")
            self._check_view(view)

    def _check_view(self, view: ViewTokens) -> None:
        """What the noun itself does not promise: that it is of this bundle, and finite."""
        tokens, limits = view.tokens, self._limits
        check(f"tokens in view {view.slot}", len(tokens.ids), limits.tokens_per_view)
        if tokens.grid != limits.grid:
            raise PacketError(
                f"view {view.slot} has grid {tokens.grid}, the bundle's is {limits.grid}"
            )
        if tokens.features.shape[1] != limits.dim:
            raise PacketError(
                f"view {view.slot} has features {tokens.features.shape[1]} wide, "
                f"the bundle's are {limits.dim}"
            )
        if not np.isfinite(tokens.features).all():
            raise PacketError(f"view {view.slot} has features that are not finite")
        if not np.isfinite(view.window).all():
            raise PacketError(f"view {view.slot} has the window {view.window}")

    def _check_embeds(self, embeds: F32, count: int) -> None:
        if embeds.shape != (count, self._width):
            raise EngineError(f"the projector gave {embeds.shape}, expected {(count, self._width)}")
        if not np.isfinite(embeds).all():
            raise EngineError("the projector gave embeddings that are not finite")


def _kind(view: ViewTokens) -> int:
    """0 overview, 1 crop, 2 close-up, as the projector knows them."""
    return 2 if view.closeup_of is not None else min(view.slot, 1)


def positions(ids: npt.NDArray[np.int64], slots: npt.NDArray[np.int64], grid: Grid) -> I32:
    """(t, h, w) of each token, [K, 3] int32.

    Views follow each other in t, as the pictures of a clip do: slot s of a picture has t = s.
    """
    frames, height, width = grid
    t, within = np.divmod(ids, height * width)
    h, w = np.divmod(within, width)
    return np.stack([slots * frames + t, h, w], axis=1).astype(np.int32)
