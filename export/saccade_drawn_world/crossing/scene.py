"""What is true of one picture: the record that questions are asked about.

Pixels are those of the 640 x 384 frame, x to the right, y down; distances in metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

WIDTH, HEIGHT = 640, 384
KINDS = ("car", "van", "pickup", "bus", "truck", "motorcycle", "bicycle")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
HEADINGS = ("toward", "away", "left", "right")
LIGHTS = ("red", "amber", "green", "none")
TIMES = ("day", "dusk", "night")
WEATHERS = ("clear", "rain", "fog")
# No I, O, Q, 0, 1: they cannot be told apart on a plate a few pixels high.
PLATE_ALPHABET = "ABCDEFGHJKLMNPRSTUVWXYZ23456789"
PLATE_LENGTH = 4
CHAR_SHARE = 0.76  # of a plate's height

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Vehicle:
    """One vehicle; `box` is clipped to the frame, `visible` is a share of its whole silhouette."""

    track: int
    kind: str
    colour: str
    heading: str
    box: Box
    visible: float
    distance_m: float
    plate: str | None
    chars: tuple[tuple[float, float], ...]
    char_height_px: float

    @property
    def plate_box(self) -> Box | None:
        """The plate's extent, None where it cannot be read."""
        if self.plate is None:
            return None
        xs, ys = zip(*self.chars, strict=True)
        side = (max(xs) - min(xs)) / (PLATE_LENGTH - 1) / 2
        half = self.char_height_px / CHAR_SHARE / 2
        return (min(xs) - side, min(ys) - half, max(xs) + side, max(ys) + half)


@dataclass(frozen=True)
class Pedestrian:
    """One person on foot; `colour` is the jacket's."""

    track: int
    colour: str
    box: Box
    visible: float


@dataclass(frozen=True)
class Light:
    """The traffic light that faces the camera; `box` is its housing."""

    state: str
    box: Box


@dataclass(frozen=True)
class Scene:
    """All that is in one picture; vehicles by box area, largest first."""

    seed: int
    t_s: float
    time: str
    weather: str
    light: Light | None
    vehicles: tuple[Vehicle, ...]
    pedestrians: tuple[Pedestrian, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> Scene:
        """The inverse of `to_json`, also after a trip through JSON text."""
        light = record["light"]
        return Scene(
            seed=record["seed"],
            t_s=record["t_s"],
            time=record["time"],
            weather=record["weather"],
            light=None if light is None else Light(light["state"], _box(light["box"])),
            vehicles=tuple(_vehicle(each) for each in record["vehicles"]),
            pedestrians=tuple(
                Pedestrian(**{**each, "box": _box(each["box"])}) for each in record["pedestrians"]
            ),
        )


def _box(values: Sequence[float]) -> Box:
    x0, y0, x1, y1 = values
    return (x0, y0, x1, y1)


def _vehicle(record: dict[str, Any]) -> Vehicle:
    chars = tuple((x, y) for x, y in record["chars"])
    return Vehicle(**{**record, "box": _box(record["box"]), "chars": chars})
