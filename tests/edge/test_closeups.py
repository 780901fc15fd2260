"""What is small inside a crop gets a view of its own, once, and no crop."""

from __future__ import annotations

from saccade.manifest import TokensByKind
from saccade.types import Region
from saccade_edge.plan import Plan
from saccade_edge.views import Closeup

NEAR = Region((100, 100, 300, 220), "car", 0.9)
FAR = Region((400, 80, 460, 120), "van", 0.8)
PLATE = Region((180, 180, 220, 192), "plate", 0.7)
FAR_PLATE = Region((420, 105, 440, 111), "plate", 0.6)


def plan(max_closeups: int = 4, max_crops: int = 4) -> Plan:
    return Plan(
        method="uniform", tokens=TokensByKind.alike(16), codec="f16", max_crops=max_crops,
        max_closeups=max_closeups, closeup_labels=frozenset({"plate"}),
    )  # fmt: skip


def test_a_plate_gets_a_closeup_and_no_crop() -> None:
    regions = [NEAR, FAR, FAR_PLATE, PLATE]
    crops = plan().cropped(regions)
    assert crops == [NEAR, FAR]
    assert plan().closeups(regions, crops) == [Closeup(1, PLATE), Closeup(2, FAR_PLATE)]


def test_a_crop_has_one_closeup_the_surest() -> None:
    doubtful = Region((120, 120, 160, 130), "plate", 0.3)
    assert plan().closeups([doubtful, PLATE], [NEAR]) == [Closeup(1, PLATE)]


def test_a_plate_outside_all_crops_is_left() -> None:
    assert plan().closeups([PLATE], [FAR]) == []
    assert plan(max_crops=1).closeups([FAR_PLATE], plan(max_crops=1).cropped([NEAR, FAR])) == []


def test_closeups_are_bounded() -> None:
    assert plan(max_closeups=1).closeups([FAR_PLATE, PLATE], [NEAR, FAR]) == [Closeup(1, PLATE)]
    assert plan(max_closeups=0).closeups([PLATE], [NEAR]) == []
