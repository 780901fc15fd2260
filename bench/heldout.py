"""Held-out frames of the demo world, seen as the edge sees them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from saccade import codecs
from saccade import packet as packets
from saccade.bundle import Bundle
from saccade.client import EncodeOptions
from saccade.limits import Limits
from saccade.selection import select
from saccade.types import Box, Frame, FrameTokens, Region, TokenGrid, View, ViewTokens
from saccade.views_header import wire_window
from saccade_drawn_world.crossing.render import render
from saccade_drawn_world.crossing.scene import Scene
from saccade_drawn_world.crossing.scene_questions import Question, ask
from saccade_edge.detect import make_detector, prioritise
from saccade_edge.encode import Encoder
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings, settle
from saccade_edge.views import Closeup, Cutter

# Training uses seeds from 1,000,000 on, the detector from 899,800; choices made during
# development were made on 0..799.
FIRST_SEED = 10_000
SAME_IOU = 0.5


@dataclass(frozen=True)
class EncodedScene:
    """One held-out frame. ``subjects[i]``: vehicle index shown in slot i + 1, None where the
    detector saw something else; ``missed``: vehicles that should have had a crop and have none;
    ``plates`` of vehicles with a crop can be read, ``unread`` of them have no close-up.
    """

    frame: Frame
    scene: Scene
    views: tuple[View, ...]
    grids: tuple[TokenGrid, ...]
    subjects: tuple[int | None, ...]
    missed: int
    plates: int
    unread: int
    questions: tuple[Question, ...]


class FrameEncoder:
    """The edge's detector and encoder over rendered frames."""

    def __init__(
        self, bundle: Bundle, regions: str, threads: int, finder: Bundle | None = None
    ) -> None:
        """``finder``: whose detector looks, where it is not the bundle's own."""
        self.bundle, self.regions = bundle, regions
        finder = finder or bundle
        runtime = RuntimeSettings(threads=threads)
        self.encoder = Encoder(bundle, runtime)
        self.cutter = Cutter.of(finder.manifest)
        # Every crop is looked at: what an operating point leaves out is left out later.
        every = PipelineSettings(encode=EncodeOptions(max_crops=finder.manifest.most_crops))
        self.plan = settle(finder.manifest, every)
        self.detector = make_detector("yolo", finder, runtime) if regions == "detector" else None

    def render_and_encode(self, seed: int) -> EncodedScene:
        """Render a frame and look at it."""
        rendered = render(seed)
        frame = Frame(rendered.picture, seed * 1_000_000_000, "bench", seed)
        return self.encode(frame, rendered.scene)

    def encode(self, frame: Frame, scene: Scene) -> EncodedScene:
        """Detect, cut and encode; ask the frame's questions."""
        crops, closeups = self._regions(frame, scene)
        views = self.cutter.views(frame, crops, closeups)
        subjects = match([r.box for r in crops], scene)
        asked, missed = self._questions(scene, subjects, random.Random(frame.sequence))
        plated = plates_of(subjects, scene)
        return EncodedScene(
            frame=frame,
            scene=scene,
            views=tuple(views),
            grids=tuple(self.encoder.encode(views)),
            subjects=tuple(subjects),
            missed=missed,
            plates=len(plated),
            unread=len(plated - {near.of for near in closeups}),
            questions=tuple(asked),
        )

    def _regions(self, frame: Frame, scene: Scene) -> tuple[list[Region], list[Closeup]]:
        if self.detector is None:
            shown = scene.vehicles[: self.plan.max_crops]
            plates = [(slot, v.plate_box) for slot, v in enumerate(shown, 1)]
            closeups = [Closeup(slot, Region(box, "plate", 1.0)) for slot, box in plates if box]
            return [Region(v.box, v.kind, 1.0) for v in shown], closeups
        found = prioritise(self.detector.find(frame, lambda: self.encoder.encode([])[0]))
        crops = self.plan.cropped(found)
        return crops, self.plan.closeups(found, crops)

    def _questions(
        self, scene: Scene, subjects: Sequence[int | None], rng: random.Random
    ) -> tuple[list[Question], int]:
        """A vehicle that the detector missed is asked about in a slot that holds nothing, and a
        plate that it missed is asked for all the same: its errors count as wrong answers.
        """
        expected = range(min(len(scene.vehicles), self.plan.max_crops))
        lost = [i for i in expected if i not in subjects]
        slots = [*subjects, *lost][: self.plan.max_crops]
        boxes = [scene.vehicles[s].box if s is not None else (0.0, 0.0, 1.0, 1.0) for s in slots]
        return ask(scene, boxes, rng), len(lost)


def match(boxes: Sequence[Box], scene: Scene) -> list[int | None]:
    """For each box the vehicle that it shows, each vehicle once."""
    free = set(range(len(scene.vehicles)))
    found: list[int | None] = []
    for box in boxes:
        best = max(free, key=lambda i: overlap(scene.vehicles[i].box, box), default=None)
        hit = best is not None and overlap(scene.vehicles[best].box, box) >= SAME_IOU
        found.append(best if hit else None)
        free -= {best} if hit else set()
    return found


def plates_of(subjects: Sequence[int | None], scene: Scene) -> set[int]:
    """The slots, from 1, whose vehicle has a plate that can be read."""
    return {
        slot
        for slot, i in enumerate(subjects, 1)
        if i is not None and scene.vehicles[i].plate is not None
    }


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0.0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def tokens(
    seen: EncodedScene, budget: int | Sequence[int], method: str, grids: Sequence[TokenGrid] = ()
) -> FrameTokens:
    """What an edge would code with ``budget`` tokens of each view, one number for all or each its
    own; ``grids`` where another encoder than the edge's has seen the views.
    """
    height, width = seen.frame.size
    budgets = [budget] * len(seen.views) if isinstance(budget, int) else budget
    views = []
    for slot, (view, grid) in enumerate(zip(seen.views, grids or seen.grids, strict=True)):
        x0, y0, x1, y1 = view.window
        window = wire_window((x0 / width, y0 / height, x1 / width, y1 / height))
        kept = select(grid, budgets[slot], method=method, seed=seen.frame.sequence)
        views.append(ViewTokens(slot, window, kept, closeup_of=view.closeup_of))
    return FrameTokens(
        seen.frame.sequence, "bench", seen.frame.captured_ns, seen.frame.size, tuple(views)
    )


def over_the_wire(
    frame: FrameTokens, codec: str, bundle: Bundle, layers: int | None = None
) -> tuple[FrameTokens, int]:
    """Packed, serialised, parsed and unpacked; and the bytes of the serialised packet."""
    known = _codecs(bundle)
    packet = packets.pack(frame, codec, epoch_unix_ms=0, codecs=known, layers=layers)
    data = packet.SerializeToString()
    received = type(packet).FromString(data)
    limits = Limits.of(bundle.manifest)
    unpacked = packets.unpack(
        received, limits=limits, cameras=["bench"], epoch_unix_ms=0, codecs=known
    )
    return unpacked, len(data)


@cache
def _codecs(bundle: Bundle) -> codecs.Codecs:
    """Tables are read once, not for every packet."""
    return codecs.of(bundle)


def frames(
    frame_encoder: FrameEncoder, count: int, first: int = FIRST_SEED
) -> Iterator[EncodedScene]:
    """``count`` held-out frames."""
    for seed in range(first, first + count):
        yield frame_encoder.render_and_encode(seed)
