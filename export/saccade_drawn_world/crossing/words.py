"""Words of the questions: plurals, phrases and the closed vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence

from saccade_drawn_world.crossing.scene import (
    COLOURS,
    HEADINGS,
    KINDS,
    LIGHTS,
    PLATE_ALPHABET,
    TIMES,
    WEATHERS,
    WIDTH,
    Scene,
    Vehicle,
)

# What the manifest of a bundle for this world says of it.
DOMAIN = "one drawn street crossing: vehicles with their plates, people and a traffic light"
PLURALS = {kind: {"bus": "buses"}.get(kind, kind + "s") for kind in KINDS}
SIDES = ("left", "middle", "right")
_WEATHER_WORDS = {"clear": "clear", "rain": "rainy", "fog": "foggy"}
_FRAMES = (
    "what is vehicle 1 ? what colour is vehicle 2 ? where is vehicle 3 heading ? a . vehicle 4",
    "how many vehicles are there ? how many people are there ? is there a red vehicle ?",
    "what is the traffic light showing ? is vehicle 1 left of vehicle 2 ? nearer than",
    "where is the red car ? what time of day is it ? what is the weather ? yes no",
    "what is the plate of vehicle 1 ? describe vehicle 1 . a red car heading left .",
    "describe the scene . 2 vehicles and 1 person on a rainy night . 0 vehicle 5",
    "what is the leftmost vehicle ? rightmost nearest right",
)

_ASKED = (
    "what is the vehicle ? what colour is the car ? where is it heading ? describe the scene .",
    "how many vehicles are there ? how many people are there ? is there a person ?",
    "what is the traffic light showing ? what time of day is it ? what is the weather ?",
    "is it left of the bus ? right of nearer than the leftmost rightmost nearest plate",
)


def _vocabulary() -> tuple[str, ...]:
    words = " ".join(_FRAMES).split()
    words += [*KINDS, *PLURALS.values(), *COLOURS, *HEADINGS, *LIGHTS, *TIMES, *WEATHERS, *SIDES]
    words += [*_WEATHER_WORDS.values(), *(str(number) for number in range(6))]
    return tuple(sorted(set(words)))


# Every word of texts and answers; a plate is spelled in `PLATE_ALPHABET` instead.
VOCABULARY: tuple[str, ...] = _vocabulary()
_PLATE = re.compile(f"[{PLATE_ALPHABET}]{{4}}")


# Every word of questions. Numbers are not among them: "vehicle 1" is one name.
QUESTION_WORDS: tuple[str, ...] = tuple(
    sorted({*" ".join(_ASKED).split(), *KINDS, *PLURALS.values(), *COLOURS})
)


def known(word: str) -> bool:
    """Whether a word is in the vocabulary or a plate."""
    return word in VOCABULARY or _PLATE.fullmatch(word) is not None


def centre_x(vehicle: Vehicle) -> float:
    """Middle of the box, pixels."""
    return (vehicle.box[0] + vehicle.box[2]) / 2


def name(vehicle: Vehicle) -> str:
    """As in: red car."""
    return f"{vehicle.colour} {vehicle.kind}"


def side(vehicle: Vehicle, margin_px: float = 15.0) -> str | None:
    """The third of the frame a vehicle is in; None near the borders."""
    x, third = centre_x(vehicle), WIDTH / 3
    if min(abs(x - third), abs(x - 2 * third)) < margin_px:
        return None
    return SIDES[int(min(x / third, 2.0))]


def unique(vehicles: Sequence[Vehicle], key: str) -> list[Vehicle]:
    """Those whose "kind", "colour" or "name" no other one has."""
    values = [name(v) if key == "name" else getattr(v, key) for v in vehicles]
    return [v for v, value in zip(vehicles, values, strict=True) if values.count(value) == 1]


def scene_sentence(scene: Scene) -> str:
    """As in: 2 vehicles and 1 person on a rainy night ."""
    v, p = len(scene.vehicles), len(scene.pedestrians)
    things = f"{v} vehicle{'' if v == 1 else 's'} and {p} {'person' if p == 1 else 'people'}"
    return f"{things} on a {_WEATHER_WORDS[scene.weather]} {scene.time} ."
