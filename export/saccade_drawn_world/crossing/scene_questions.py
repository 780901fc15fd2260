"""Questions with exactly one right answer, read off a scene.

Texts and answers are words of `VOCABULARY` parted by single spaces; plates are upper-case words
of `scene.PLATE_ALPHABET`. "vehicle 1" is the first region shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from saccade_drawn_world.crossing import easier_questions as stones
from saccade_drawn_world.crossing.question_makers import (
    MAX_REGIONS,
    MIN_LEFT_PX,
    MIN_NEARER_PX,
    Maker,
    Question,
    Region,
    View,
    gather,
    look,
)
from saccade_drawn_world.crossing.scene import COLOURS, KINDS, Scene, Vehicle
from saccade_drawn_world.crossing.words import (
    PLURALS,
    VOCABULARY,
    centre_x,
    name,
    scene_sentence,
    side,
    unique,
)

__all__ = ["EXAMPLES", "MAX_REGIONS", "VOCABULARY", "Question", "Region", "ask", "stepping_stones"]

# One of each kind, for whoever calibrates; "{crop}" stands for the number of each crop,
# "{closeup}" for the number of each crop that has a close-up.
EXAMPLES = (
    "what is vehicle {crop} ?",
    "what colour is vehicle {crop} ?",
    "where is vehicle {crop} heading ?",
    "describe vehicle {crop} .",
    "what is the plate of vehicle {closeup} ?",
    "how many vehicles are there ?",
    "how many cars are there ?",
    "how many white vehicles are there ?",
    "how many people are there ?",
    "is there a bus ?",
    "is there a red car ?",
    "what is the traffic light showing ?",
    "is vehicle 1 left of vehicle 2 ?",
    "what time of day is it ?",
    "what is the weather ?",
    "describe the scene .",
)


def ask(
    scene: Scene, regions: Sequence[Region], rng: random.Random, per_kind: int = 1
) -> list[Question]:
    """At most `per_kind` different questions of each kind that the scene can answer."""
    view = look(scene, regions)
    return gather(MAKERS, view, rng, per_kind)


def _class(view: View, rng: random.Random) -> Question | None:
    if not view.shown:
        return None
    number, vehicle = rng.choice(view.shown)
    return Question("class", f"what is vehicle {number} ?", vehicle.kind)


def _colour(view: View, rng: random.Random) -> Question | None:
    if not view.shown:
        return None
    number, vehicle = rng.choice(view.shown)
    return Question("colour", f"what colour is vehicle {number} ?", vehicle.colour)


def _heading(view: View, rng: random.Random) -> Question | None:
    if not view.shown:
        return None
    number, vehicle = rng.choice(view.shown)
    return Question("heading", f"where is vehicle {number} heading ?", vehicle.heading)


def _count_kind(view: View, rng: random.Random) -> Question:
    vehicles = view.scene.vehicles
    if rng.random() < 0.4:
        return Question("count_kind", "how many vehicles are there ?", str(len(vehicles)))
    kind = _present_first([v.kind for v in vehicles], KINDS, rng)
    count = sum(v.kind == kind for v in vehicles)
    return Question("count_kind", f"how many {PLURALS[kind]} are there ?", str(count))


def _present_first(present: list[str], every: Sequence[str], rng: random.Random) -> str:
    """A value in the scene with probability 0.75, repeated ones three times as often."""
    if not present or rng.random() >= 0.75:
        return rng.choice([value for value in every if value not in present])
    values = sorted(set(present))
    return rng.choices(values, [3.0 if present.count(value) > 1 else 1.0 for value in values])[0]


def _count_colour(view: View, rng: random.Random) -> Question:
    colours = [v.colour for v in view.scene.vehicles]
    colour = _present_first(colours, COLOURS, rng)
    return Question(
        "count_colour", f"how many {colour} vehicles are there ?", str(colours.count(colour))
    )


def _count_people(view: View, rng: random.Random) -> Question:
    return Question("count_people", "how many people are there ?", str(len(view.scene.pedestrians)))


def _exist(view: View, rng: random.Random) -> Question:
    """Yes and no equally often; an empty crossing only has noes."""
    vehicles = view.scene.vehicles
    wanted = rng.random() < 0.53 and len(vehicles) > 0
    phrase = rng.choice((_exist_kind, _exist_colour, _exist_both))(vehicles, wanted, rng)
    return Question("exist", f"is there a {phrase} ?", "yes" if wanted else "no")


def _exist_kind(vehicles: Sequence[Vehicle], wanted: bool, rng: random.Random) -> str:
    present = sorted({v.kind for v in vehicles})
    return rng.choice(present if wanted else [kind for kind in KINDS if kind not in present])


def _exist_colour(vehicles: Sequence[Vehicle], wanted: bool, rng: random.Random) -> str:
    present = sorted({v.colour for v in vehicles})
    colour = rng.choice(present if wanted else [c for c in COLOURS if c not in present])
    return f"{colour} vehicle"


def _exist_both(vehicles: Sequence[Vehicle], wanted: bool, rng: random.Random) -> str:
    """Noes mix what is there: the kind in another colour, or the colour on another kind."""
    names = {name(v) for v in vehicles}
    if wanted:
        return rng.choice(sorted(names))
    kinds, colours = {v.kind for v in vehicles}, {v.colour for v in vehicles}
    near = [
        f"{c} {k}"
        for k in KINDS
        for c in COLOURS
        if (k in kinds) != (c in colours) or (k in kinds and c in colours)
    ]
    return rng.choice(
        [each for each in near if each not in names]
        or [f"{rng.choice(COLOURS)} {rng.choice(KINDS)}"]
    )


def _light(view: View, rng: random.Random) -> Question:
    light = view.scene.light
    return Question(
        "light", "what is the traffic light showing ?", "none" if light is None else light.state
    )


def _relation(view: View, rng: random.Random) -> Question | None:
    """Left of, nearer than, or the third of the frame; None if all are too close to call."""
    makers: list[Maker] = [_left_of, _nearer, _third]
    rng.shuffle(makers)
    return next((q for q in (maker(view, rng) for maker in makers) if q is not None), None)


def _pair(
    view: View, rng: random.Random, gap: Callable[[Vehicle, Vehicle], float], least: float
) -> tuple[int, int, str] | None:
    """A pair in an order that makes the answer yes half of the time."""
    pairs = [(a, b) for a, v in view.shown for b, w in view.shown if gap(v, w) > least]
    if not pairs:
        return None
    first, second = rng.choice(pairs)
    return (first, second, "yes") if rng.random() < 0.5 else (second, first, "no")


def _left_of(view: View, rng: random.Random) -> Question | None:
    pair = _pair(view, rng, lambda v, w: centre_x(w) - centre_x(v), MIN_LEFT_PX)
    if pair is None:
        return None
    return Question("relation", f"is vehicle {pair[0]} left of vehicle {pair[1]} ?", pair[2])


def _nearer(view: View, rng: random.Random) -> Question | None:
    pair = _pair(view, rng, lambda v, w: v.box[3] - w.box[3], MIN_NEARER_PX)
    if pair is None:
        return None
    return Question("relation", f"is vehicle {pair[0]} nearer than vehicle {pair[1]} ?", pair[2])


def _third(view: View, rng: random.Random) -> Question | None:
    places = [(v, side(v)) for v in unique(view.scene.vehicles, "name")]
    clear = [(v, place) for v, place in places if place is not None]
    if not clear:
        return None
    vehicle, place = rng.choice(clear)
    return Question("relation", f"where is the {name(vehicle)} ?", place)


def _time(view: View, rng: random.Random) -> Question:
    return Question("time", "what time of day is it ?", view.scene.time)


def _weather(view: View, rng: random.Random) -> Question:
    return Question("weather", "what is the weather ?", view.scene.weather)


def _plate(view: View, rng: random.Random) -> Question | None:
    readable = [(number, v.plate) for number, v in view.shown if v.plate is not None]
    if not readable:
        return None
    number, plate = rng.choice(readable)
    return Question("plate", f"what is the plate of vehicle {number} ?", plate)


def _describe(view: View, rng: random.Random) -> Question:
    if not view.shown or rng.random() < 0.3:
        return Question("describe", "describe the scene .", scene_sentence(view.scene))
    number, vehicle = rng.choice(view.shown)
    return Question(
        "describe", f"describe vehicle {number} .", f"a {name(vehicle)} heading {vehicle.heading} ."
    )


MAKERS: tuple[Maker, ...] = (
    _class,
    _colour,
    _heading,
    _count_kind,
    _count_colour,
    _count_people,
    _exist,
    _light,
    _relation,
    _time,
    _weather,
    _plate,
    _describe,
)


def stepping_stones(scene: Scene, regions: Sequence[Region], rng: random.Random) -> list[Question]:
    """Easier helpers in the same vocabulary, for training only; kinds start with `step_`."""
    return gather(stones.MAKERS, look(scene, regions), rng, 1)
