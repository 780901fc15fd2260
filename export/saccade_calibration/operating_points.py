"""Measures a bundle's operating points: what frames cost, and how often the answer stays.

Needs no labels: the answer from all tokens, uncoded, is what others are compared with, token by
token (see `teacher_forcing`). The way down is greedy. From the finest point, of all single steps
(fewer crops, fewer tokens of a kind of view, fewer layers) the one is taken that costs the least
agreement for a byte.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from saccade import codecs
from saccade import packet as packets
from saccade.bundle import Bundle
from saccade.errors import NotInFrame
from saccade.limits import Limits
from saccade.manifest import OperatingPoint, TokensByKind
from saccade.turns import asking
from saccade.types import FrameTokens, TokenSet
from saccade_calibration.teacher_forcing import Likeness, Reference, TeacherForcing
from saccade_cloud.assemble import needs_of, open_answerer
from saccade_cloud.engines import registry
from saccade_cloud.engines.base import Engine, Prompt
from saccade_cloud.engines.registry import EngineOptions
from saccade_cloud.frame_cache import ProjectedFrame

T = TypeVar("T")

# In a question: asked of each crop, or of each crop that has a close-up, by its number.
CROP, CLOSEUP = "{crop}", "{closeup}"
CAMERA = "calibration"
SHARES = (1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 1 / 16, 1 / 32)  # of a view's tokens
LEAST_AGREEMENT = 0.75  # what agrees less is of no use
# Agreement is flat where twice the bytes bring no more than this.
FLAT_GAIN = 0.01
# A step this small saves nothing: no step is worth infinitely much.
_LEAST_SAVED = 0.5  # bytes


@dataclass(frozen=True)
class Measured:
    """A way to send frames. ``bytes``: mean of serialised packets. ``agreement``: share of the
    answers' tokens that stay the same under teacher forcing, 0..1; ``divergence``: nats a token;
    ``same``: share of equal answers. Engines that score nothing are judged by equal answers alone.
    """

    crops: int
    tokens: TokensByKind
    codec: str
    layers: int
    bytes: float = 0.0
    agreement: float = 0.0
    divergence: float | None = None
    same: float = 0.0

    def point(self) -> OperatingPoint:
        return OperatingPoint(
            crops=self.crops,
            tokens=self.tokens,
            codec=self.codec,
            layers=self.layers,
            bytes=round(self.bytes, 1),
            agreement=round(self.agreement, 4),
        )


class Judge:
    """Asks a bundle's cloud about frames that its edge has seen; ``frames`` with all tokens."""

    def __init__(
        self,
        bundle: Bundle,
        frames: Sequence[FrameTokens],
        questions: Sequence[str],
        options: EngineOptions,
        engine: str = registry.DEFAULT,
    ) -> None:
        self._codecs, self._limits = codecs.of(bundle), Limits.of(bundle.manifest)
        self._frames = frames
        self._questions = [_asked(questions, frame) for frame in frames]
        self._loop = asyncio.new_event_loop()  # an engine lives in one
        opened = self._loop.run_until_complete(_open(bundle, engine, options))
        self._answerer = open_answerer(bundle, opened)
        self._judge = TeacherForcing(opened, opened.limits.max_tokens)
        self._whole = self._run(map(self._references, frames, self._questions))

    def close(self) -> None:
        """Ends the engine."""
        self._loop.run_until_complete(self._answerer.close())
        self._loop.close()

    def layers(self, codec: str) -> int:
        """How many the codec has."""
        sets = [view.tokens for view in self._frames[0].views]
        return len(self._codecs.get(codec).encode(sets))

    def measure(self, way: Measured) -> Measured:
        """``way`` with its bytes and agreement, over real serialised packets."""
        sent = [self._over_the_wire(reduce(f, way.crops, way.tokens), way) for f in self._frames]
        coded = [frame for frame, _ in sent]
        judged = self._run(map(self._likenesses, coded, self._questions, self._whole))
        alike = [one for frame in judged for one in frame]
        apart = [one.divergence for one in alike if one.divergence is not None]
        return replace(
            way,
            bytes=float(np.mean([size for _, size in sent])),
            agreement=float(np.mean([one.agreement for one in alike])),
            divergence=float(np.mean(apart)) if apart else None,
            same=float(np.mean([one.same for one in alike])),
        )

    def _over_the_wire(self, frame: FrameTokens, way: Measured) -> tuple[FrameTokens, int]:
        packet = packets.pack(
            frame, way.codec, epoch_unix_ms=0, codecs=self._codecs, layers=way.layers
        )
        data = packet.SerializeToString()
        there = packets.unpack(
            type(packet).FromString(data),
            limits=self._limits,
            cameras=[CAMERA],
            epoch_unix_ms=0,
            codecs=self._codecs,
        )
        return there, len(data)

    def _run(self, several: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
        """One frame's questions after the other's."""
        return [self._loop.run_until_complete(one) for one in several]

    async def _references(
        self, frame: FrameTokens, questions: Sequence[str]
    ) -> list[Reference | None]:
        prompts = await self._prompts(frame, questions)
        return await asyncio.gather(*(_if_asked(self._judge.reference, p) for p in prompts))

    async def _likenesses(
        self, frame: FrameTokens, questions: Sequence[str], wholes: Sequence[Reference | None]
    ) -> list[Likeness]:
        prompts = await self._prompts(frame, questions)
        return await asyncio.gather(*map(self._likeness, wholes, prompts))

    async def _likeness(self, whole: Reference | None, prompt: Prompt | None) -> Likeness:
        """No answer on both sides is the same; on one side it is another."""
        if whole is None or prompt is None:
            same = whole is None and prompt is None
            return Likeness(float(same), None, same)
        return await self._judge.likeness(whole, prompt)

    async def _prompts(self, frame: FrameTokens, questions: Sequence[str]) -> list[Prompt | None]:
        """None for a question about what the frame does not show."""
        projected = await self._answerer.project(frame)
        return [self._prompt(projected, question) for question in questions]

    def _prompt(self, frame: ProjectedFrame, question: str) -> Prompt | None:
        try:
            return self._answerer.prepare(asking(question), {0: frame}).prompt
        except NotInFrame:
            return None


async def _open(bundle: Bundle, engine: str, options: EngineOptions) -> Engine:
    return registry.open_engine(engine, bundle, needs_of(bundle.manifest), options)


async def _if_asked(
    judged: Callable[[Prompt], Coroutine[Any, Any, Reference]], prompt: Prompt | None
) -> Reference | None:
    return None if prompt is None else await judged(prompt)


def _asked(questions: Sequence[str], frame: FrameTokens) -> list[str]:
    crops = [view.slot for view in frame.views[1:] if view.closeup_of is None]
    near = [view.closeup_of for view in frame.views if view.closeup_of is not None]
    asked = []
    for question in questions:
        numbers = crops if CROP in question else near if CLOSEUP in question else [0]
        asked += [question.replace(CROP, f"{n}").replace(CLOSEUP, f"{n}") for n in numbers]
    return asked


def reduce(frame: FrameTokens, crops: int, tokens: TokensByKind) -> FrameTokens:
    """``frame`` as an edge sends it that has fewer tokens, by each view's ``order``."""
    kept = [v for v in frame.views if (v.slot if v.closeup_of is None else v.closeup_of) <= crops]
    views = [
        replace(view, slot=slot, tokens=first(view.tokens, tokens.of(view.kind)))
        for slot, view in enumerate(kept)
    ]
    return replace(frame, views=tuple(views))


def first(tokens: TokenSet, count: int) -> TokenSet:
    """The ``count`` most important tokens."""
    rows = np.sort(tokens.order[:count])
    order = np.searchsorted(rows, tokens.order[:count]).astype(np.int32)
    return replace(tokens, features=tokens.features[rows], ids=tokens.ids[rows], order=order)


def search(
    judge: Judge, bundle: Bundle, done: Callable[[float], None] = lambda agreement: None
) -> list[OperatingPoint]:
    """The points that no other beats, from the smallest to the best.

    ``done`` is called after each step down, with the agreement there.
    """
    manifest = bundle.manifest
    most, codec = manifest.most_tokens, _coarsest(manifest.codecs)
    crops, tokens = manifest.most_crops, TokensByKind.alike(most)
    here = judge.measure(Measured(crops, tokens, codec, judge.layers(codec)))
    others = [name for name in manifest.codecs if name != codec]
    found = [here]
    found += [judge.measure(Measured(crops, tokens, name, judge.layers(name))) for name in others]
    while here.agreement >= LEAST_AGREEMENT:
        done(here.agreement)
        below = [judge.measure(way) for way in _steps(here, most)]
        found += below
        if not below:
            break
        here = min(below, key=lambda way: _price(here, way))
    return [way.point() for way in frontier(found)]


def _price(here: Measured, below: Measured) -> float:
    return (here.agreement - below.agreement) / max(here.bytes - below.bytes, _LEAST_SAVED)


def _coarsest(known: Sequence[str]) -> str:
    return next(name for name in ("rvq", "klt", "int8z", "f16") if name in known)


def _steps(way: Measured, most: int) -> Iterator[Measured]:
    """Each single step down from ``way``."""
    if way.crops > 0:
        yield replace(way, crops=way.crops - 1)
    if way.layers > 1:
        yield replace(way, layers=way.layers - 1)
    rungs = sorted({max(math.floor(most * share), 1) for share in SHARES})
    for kind in ("overview", "crop", "closeup"):
        lower = [rung for rung in rungs if rung < way.tokens.of(kind)]
        if lower:
            yield replace(way, tokens=replace(way.tokens, **{kind: lower[-1]}))


def frontier(ways: Sequence[Measured]) -> list[Measured]:
    """Without those that another beats in bytes and agreement; ascending in both."""
    best, kept = -1.0, []
    for way in sorted(ways, key=lambda w: (round(w.bytes, 1), -w.agreement)):
        if round(way.agreement, 4) > best:
            best = round(way.agreement, 4)
            kept.append(way)
    return kept


def flat_from(points: Sequence[OperatingPoint]) -> int:
    """The first point from which agreement is flat: no point of up to twice its bytes agrees by
    more than ``FLAT_GAIN`` more, and no larger one by more than that for each doubling.

    ``points`` ascend in bytes and agreement, at least one. With some 1,700 questions asked, one
    percentage point is about twice the sampling error of the difference of two points.
    """
    numbers = range(len(points))
    return next(n for n in numbers if all(_flat(points[n], p) for p in points[n + 1 :]))


def _flat(here: OperatingPoint, above: OperatingPoint) -> bool:
    doublings = max(math.log2(above.bytes / here.bytes), 1.0)
    return round(above.agreement - here.agreement, 6) <= FLAT_GAIN * doublings
