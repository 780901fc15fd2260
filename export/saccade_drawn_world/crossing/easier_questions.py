"""Stepping stones: smaller questions that lead to counting, relations and plates."""

from __future__ import annotations

import random
from collections.abc import Callable

from saccade_drawn_world.crossing.question_makers import MIN_LEFT_PX, Maker, Question, View
from saccade_drawn_world.crossing.scene import COLOURS, KINDS, Vehicle
from saccade_drawn_world.crossing.words import centre_x, name, side, unique


def _count_side(view: View, rng: random.Random) -> Question | None:
    """Only where no other vehicle is too close to call."""
    every = view.scene.vehicles
    clear = [
        (n, v)
        for n, v in view.shown
        if all(w is v or abs(centre_x(w) - centre_x(v)) > MIN_LEFT_PX / 2 for w in every)
    ]
    if not clear:
        return None
    number, vehicle = rng.choice(clear)
    sign, word = rng.choice(((1, "left"), (-1, "right")))
    count = sum(sign * (centre_x(vehicle) - centre_x(w)) > 0 for w in every)
    return Question(
        "step_count_side", f"how many vehicles are {word} of vehicle {number} ?", str(count)
    )


def _extreme(view: View, rng: random.Random) -> Question | None:
    keys: dict[str, Callable[[Vehicle], float]] = {
        "leftmost": centre_x,
        "rightmost": lambda v: -centre_x(v),
        "nearest": lambda v: -v.box[3],
    }
    word = rng.choice(sorted(keys))
    order = sorted(view.scene.vehicles, key=keys[word])
    if not order or (len(order) > 1 and keys[word](order[1]) - keys[word](order[0]) < 15):
        return None
    return Question("step_extreme", f"what is the {word} vehicle ?", f"a {name(order[0])}")


def _is_colour(view: View, rng: random.Random) -> Question | None:
    if not view.shown:
        return None
    number, vehicle = rng.choice(view.shown)
    yes = rng.random() < 0.5
    colour = vehicle.colour if yes else rng.choice([c for c in COLOURS if c != vehicle.colour])
    return Question("step_is_colour", f"is vehicle {number} {colour} ?", "yes" if yes else "no")


def _is_kind(view: View, rng: random.Random) -> Question | None:
    if not view.shown:
        return None
    number, vehicle = rng.choice(view.shown)
    yes = rng.random() < 0.5
    kind = vehicle.kind if yes else rng.choice([k for k in KINDS if k != vehicle.kind])
    return Question("step_is_kind", f"is vehicle {number} a {kind} ?", "yes" if yes else "no")


def _colour_of_kind(view: View, rng: random.Random) -> Question | None:
    lone = unique(view.scene.vehicles, "kind")
    if not lone:
        return None
    vehicle = rng.choice(lone)
    return Question("step_colour_of_kind", f"what colour is the {vehicle.kind} ?", vehicle.colour)


def _kind_of_colour(view: View, rng: random.Random) -> Question | None:
    lone = unique(view.scene.vehicles, "colour")
    if not lone:
        return None
    vehicle = rng.choice(lone)
    return Question("step_kind_of_colour", f"what is the {vehicle.colour} vehicle ?", vehicle.kind)


def _plate_of(view: View, rng: random.Random) -> Question | None:
    """Unique by name among all vehicles, so among plates as well."""
    lone = [v for v in unique(view.scene.vehicles, "name") if v.plate is not None]
    if not lone:
        return None
    vehicle = rng.choice(lone)
    return Question(
        "step_plate_of", f"what is the plate of the {name(vehicle)} ?", vehicle.plate or ""
    )


def _where(view: View, rng: random.Random) -> Question | None:
    clear = [(n, side(v)) for n, v in view.shown if side(v) is not None]
    if not clear:
        return None
    number, place = rng.choice(clear)
    return Question("step_where", f"where is vehicle {number} ?", place or "")


def _heading_of(view: View, rng: random.Random) -> Question | None:
    lone = unique(view.scene.vehicles, "name")
    if not lone:
        return None
    vehicle = rng.choice(lone)
    return Question("step_heading_of", f"where is the {name(vehicle)} heading ?", vehicle.heading)


def _any_people(view: View, rng: random.Random) -> Question:
    answer = "yes" if view.scene.pedestrians else "no"
    return Question("step_any_people", "is there a person ?", answer)


MAKERS: tuple[Maker, ...] = (
    _count_side,
    _extreme,
    _is_colour,
    _is_kind,
    _colour_of_kind,
    _kind_of_colour,
    _plate_of,
    _where,
    _heading_of,
    _any_people,
)
