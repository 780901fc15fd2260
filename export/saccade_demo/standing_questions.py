"""The demo's standing questions, and what is true of a frame of the demo world.

The truth agrees with `saccade_drawn_world.crossing.scene_questions`, from which the model
learnt: a test asks both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.types import Box
from saccade_drawn_world.crossing.question_makers import MIN_LEFT_PX, View, look
from saccade_drawn_world.crossing.scene import Scene, Vehicle
from saccade_drawn_world.crossing.words import centre_x, name

About = Callable[[Vehicle], str | None]


@dataclass(frozen=True)
class Standing:
    """One question; ``answer`` is None where the frame leaves it open."""

    kind: str
    text: str
    answer: Callable[[View], str | None]


def _first(about: About) -> Callable[[View], str | None]:
    """What is true of vehicle 1, where the first region is a vehicle."""
    return lambda view: about(dict(view.shown)[1]) if 1 in dict(view.shown) else None


def _count(counted: Callable[[Vehicle], bool]) -> Callable[[View], str]:
    return lambda view: str(sum(counted(vehicle) for vehicle in view.scene.vehicles))


def _any(wanted: Callable[[Vehicle], bool]) -> Callable[[View], str]:
    return lambda view: "yes" if any(wanted(vehicle) for vehicle in view.scene.vehicles) else "no"


def _left_of(view: View) -> str | None:
    """Open where the two are too close to call."""
    shown = dict(view.shown)
    if not {1, 2} <= set(shown):
        return None
    gap = centre_x(shown[2]) - centre_x(shown[1])
    return None if abs(gap) <= MIN_LEFT_PX else "yes" if gap > 0 else "no"


def _light(view: View) -> str:
    return view.scene.light.state if view.scene.light else "none"


STANDING: tuple[Standing, ...] = (
    Standing("class", "what is vehicle 1 ?", _first(lambda v: v.kind)),
    Standing("colour", "what colour is vehicle 1 ?", _first(lambda v: v.colour)),
    Standing("heading", "where is vehicle 1 heading ?", _first(lambda v: v.heading)),
    Standing("plate", "what is the plate of vehicle 1 ?", _first(lambda v: v.plate)),
    Standing(
        "describe",
        "describe vehicle 1 .",
        _first(lambda v: f"a {name(v)} heading {v.heading} ."),
    ),
    Standing("relation", "is vehicle 1 left of vehicle 2 ?", _left_of),
    Standing("count_kind", "how many vehicles are there ?", _count(lambda v: True)),
    Standing("count_kind", "how many cars are there ?", _count(lambda v: v.kind == "car")),
    Standing(
        "count_people", "how many people are there ?", lambda w: str(len(w.scene.pedestrians))
    ),
    Standing("exist", "is there a bus ?", _any(lambda v: v.kind == "bus")),
    Standing("exist", "is there a green vehicle ?", _any(lambda v: v.colour == "green")),
    Standing("light", "what is the traffic light showing ?", _light),
)


def _plain(question: str) -> str:
    """As the bundle's tokenizer reads it: neither capitals nor spaces count."""
    return " ".join(re.findall(r"\w+|[^\w\s]", question.lower()))


_BY_TEXT = {_plain(each.text): each for each in STANDING}


@dataclass(frozen=True)
class Verdict:
    """``truth``: None where nobody knows it."""

    kind: str
    truth: str | None


class Truth:
    """What is true of each frame of a clip that `saccade export clip` filmed."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = scenes

    @classmethod
    def beside(cls, clip: Path) -> Truth:
        """From the .json beside a clip; knows nothing where there is none."""
        path = clip.with_suffix(".json")
        if not path.is_file() or path == clip:
            return cls(())
        frames = json.loads(path.read_text())["frames"]
        return cls([Scene.from_json(frame) for frame in frames])

    @property
    def known(self) -> bool:
        """Whether there is a truth to compare with."""
        return bool(self._scenes)

    def of(self, sequence: int, shown: Sequence[Box]) -> View | None:
        """Frame ``sequence`` (from 1) with the regions that the edge showed as vehicle 1, 2, ..."""
        if not 1 <= sequence <= len(self._scenes):
            return None
        return look(self._scenes[sequence - 1], shown)


def judge(question: str, view: View | None) -> Verdict:
    """What kind of question it is, and its answer where there is one."""
    standing = _BY_TEXT.get(_plain(question))
    if standing is None:
        return Verdict("other", None)
    return Verdict(standing.kind, standing.answer(view) if view else None)
