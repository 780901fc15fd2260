"""Which regions get a crop first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from saccade.types import Region
from saccade_edge.detect.boxes import suppress

# What questions are most often about; other kinds get the crops that these leave over.
FIRST = frozenset({"car", "van", "pickup", "bus", "truck", "motorcycle", "motorbike", "bicycle"})
# Two boxes that overlap more are one thing seen twice (as a van and as a car, say).
SAME_THING_IOU = 0.6


def prioritise(regions: Sequence[Region]) -> list[Region]:
    """``regions`` without duplicates, vehicles first, then by area, largest first.

    Not by score: that a thing was found is settled, and what is near matters more than what is
    easily recognised.
    """
    vehicles = [r for r in regions if r.label in FIRST]
    # Apart: a rider fills the box of a motorcycle, and is still not the same thing.
    others = [r for r in regions if r.label not in FIRST]
    return [
        *sorted(merge(vehicles), key=_area, reverse=True),
        *sorted(merge(others), key=_area, reverse=True),
    ]


def merge(regions: Sequence[Region]) -> list[Region]:
    """Of regions that overlap nearly wholly, whatever their labels, the surest one stays."""
    if not regions:
        return []
    boxes = np.asarray([r.box for r in regions], np.float32)
    scores = np.asarray([r.score for r in regions], np.float32)
    return [regions[i] for i in suppress(boxes, scores, SAME_THING_IOU)]


def _area(region: Region) -> float:
    x0, y0, x1, y1 = region.box
    return (x1 - x0) * (y1 - y0)
