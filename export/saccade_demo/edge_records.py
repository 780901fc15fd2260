"""What ``saccade edge run --json`` prints, as far as the demo shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saccade.errors import NotInFrame
from saccade.types import Box, Grid


@dataclass(frozen=True, slots=True)
class SeenRegion:
    """``box`` in pixels of the frame."""

    label: str
    score: float
    box: Box


@dataclass(frozen=True, slots=True)
class SeenView:
    """``window`` in pixels of the frame; ``ids``: the kept places of ``grid``, raster order;
    ``crop``: the number of the crop that this is or looks into.
    """

    kind: str
    crop: int
    window: Box
    region: SeenRegion | None
    grid: Grid
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that was sent; ``stages_ms`` are the edge's."""

    sequence: int
    regions: tuple[SeenRegion, ...]
    views: tuple[SeenView, ...]
    tokens: int
    packet_bytes: int
    stages_ms: Mapping[str, float]

    @property
    def shown(self) -> list[Box]:
        """The boxes of "vehicle 1", "vehicle 2", ..."""
        return [view.region.box for view in self.views if view.region and view.kind == "crop"]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame that showed nothing new."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, or why there is none; ``stages_ms`` of the whole way. ``not_in_frame``: refused,
    because the frame does not show what it asks about.
    """

    sequence: int
    question: str
    text: str
    stages_ms: Mapping[str, float]
    refused: bool = False
    not_in_frame: bool = False


Event = Sent | Skipped | Reply


def parse(line: str) -> Event | None:
    """None for what the demo doesn't show."""
    record = json.loads(line)
    kind = record["event"]
    if kind == "FrameSent" and not record["late"]:
        return _sent(record)
    if kind == "FrameSkipped":
        return Skipped(record["sequence"])
    if kind == "FrameAnswered":
        return Reply(record["sequence"], record["question"], record["answer"], record["stages_ms"])
    if kind == "Refused" and record["question"]:
        absent = record["code"] == NotInFrame.code
        text = record["error"]
        return Reply(record["sequence"], record["question"], text, {}, True, absent)
    return None


def _sent(record: Mapping[str, Any]) -> Sent:
    return Sent(
        sequence=record["sequence"],
        regions=tuple(_region(each) for each in record["regions"]),
        views=tuple(_view(each) for each in record["views"]),
        tokens=record["tokens"],
        packet_bytes=record["packet_bytes"],
        stages_ms=record["stages_ms"],
    )


def _view(record: Mapping[str, Any]) -> SeenView:
    region = record["region"]
    return SeenView(
        kind=record["kind"],
        crop=record["crop"],
        window=_box(record["window"]),
        region=_region(region) if region else None,
        grid=tuple(record["grid"]),
        ids=tuple(record["ids"]),
    )


def _region(record: Mapping[str, Any]) -> SeenRegion:
    return SeenRegion(record["label"], record["score"], _box(record["box"]))


def _box(values: list[float]) -> Box:
    x0, y0, x1, y1 = values
    return (x0, y0, x1, y1)
