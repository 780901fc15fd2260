"""What questions are made of: the shown vehicles, and makers that ask about them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from saccade_drawn_world.crossing.scene import Scene, Vehicle

Region = tuple[float, float, float, float] | int
MAX_REGIONS = 4
MIN_LEFT_PX, MIN_NEARER_PX = 40.0, 14.0  # closer ones are too close to call


@dataclass(frozen=True)
class Question:
    """One question; `kind` groups the results of an evaluation."""

    kind: str
    text: str
    answer: str


@dataclass(frozen=True)
class View:
    """A scene and its shown vehicles as (number, vehicle)."""

    scene: Scene
    shown: tuple[tuple[int, Vehicle], ...]


Maker = Callable[[View, random.Random], "Question | None"]


def gather(
    makers: Sequence[Maker], view: View, rng: random.Random, per_kind: int
) -> list[Question]:
    """Up to `per_kind` different questions from each maker, in the makers' order."""
    found: dict[Question, None] = {}
    for maker in makers:
        mine: dict[Question, None] = {}
        for _ in range(per_kind if per_kind == 1 else 3 * per_kind):
            question = maker(view, rng)
            if question is not None and len(mine) < per_kind:
                mine[question] = None
        found.update(mine)
    return list(found)


def look(scene: Scene, regions: Sequence[Region]) -> View:
    """Resolve regions: an index into `scene.vehicles`, or a box that overlaps one best."""
    shown: list[tuple[int, Vehicle]] = []
    for number, region in enumerate(regions[:MAX_REGIONS], start=1):
        vehicle = scene.vehicles[region] if isinstance(region, int) else _at_box(scene, region)
        if vehicle is not None:
            shown.append((number, vehicle))
    return View(scene, tuple(shown))


def _at_box(scene: Scene, box: tuple[float, float, float, float]) -> Vehicle | None:
    """The vehicle whose box overlaps this one by at least half (intersection over union)."""
    best = max(scene.vehicles, key=lambda v: _iou(v.box, box), default=None)
    return best if best is not None and _iou(best.box, box) >= 0.5 else None


def _iou(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(wide, 0.0) * max(high, 0.0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)
