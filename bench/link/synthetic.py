"""The traces that come with the project, made anew from their seeds, to the byte.

    python -m bench.link.synthetic            # writes bench/link/traces/*.rates
    python -m bench.link.synthetic --check    # fails where a file differs

They are invented, in the shapes that published uplinks have: links are up or down rather than
slowly better or worse. ``driving`` is like ATT-LTE-driving of the Mahimahi traces (7 outages of 2 s
and more in 17 minutes, six of them up to 8 s, one of 78 s; a frame that must be through within 2 s
finds no link 8 % of the time), ``subway`` like the two traces of New York's 3G (gaps of 22, 3 and
2 s in 6 minutes, 5 % of the time). The README beside the traces compares them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from bench.link.trace_files import FOLDER, MAGIC, SUFFIX
from saccade.errors import ConfigError

STEP_S = 0.5

Steps = Iterator[tuple[float, int]]  # seconds, kbit/s


@dataclass(frozen=True, slots=True)
class Recipe:
    """``steps(random)`` yields parts until they fill ``seconds``."""

    title: str
    seconds: int
    delay_ms: int
    seed: int
    steps: Callable[[Random], Steps]


def text_of(name: str) -> str:
    """The whole file. The generator's seed is the trace's name with its number."""
    recipe = RECIPES[name]
    lines = [MAGIC, f"# {recipe.title}", f"# delay_ms {recipe.delay_ms}"]
    now, before = 0.0, -1
    for seconds, kbit in recipe.steps(Random(f"{name} {recipe.seed}")):
        if kbit != before:
            lines.append(f"{now:g} {kbit}")
        now, before = now + seconds, kbit
        if now >= recipe.seconds:
            break
    return "\n".join([*lines, f"{recipe.seconds} end"]) + "\n"


def _steady(_: Random) -> Steps:
    yield 180, 250


def _step(_: Random) -> Steps:
    yield from ((60, 2000), (60, 100), (60, 2000))


def _driving(random: Random) -> Steps:
    """Up for 60 to 180 s, down for 2 to 80 s, short outages being more likely than long ones."""
    while True:
        yield from _wander(random, 60 + 120 * random.random(), 150, 3000, 0.35)
        yield round(2 * 40 ** (random.random() ** 2) / STEP_S) * STEP_S, 0


def _satellite(random: Random) -> Steps:
    """Down for half a second to two, every 15 to 45 s."""
    while True:
        yield from _wander(random, 15 + 30 * random.random(), 500, 2000, 0.15)
        yield math.ceil(2 * random.random() / STEP_S) * STEP_S, 0


def _subway(random: Random) -> Steps:
    """In the long tunnel nothing for 22 s, in the short one for 3."""
    while True:
        for gap_s in (22, 3):
            yield from _wander(random, 100 + 40 * random.random(), 150, 1300, 0.3)
            yield gap_s, 0


def _wander(random: Random, seconds: float, low: int, high: int, pace: float) -> Steps:
    """A walk of the rate's logarithm that turns back at ``low`` and ``high`` kbit/s."""
    bottom, width = math.log(low), math.log(high / low)
    place = random.random()
    for _ in range(round(seconds / STEP_S)):
        place += pace * (2 * random.random() - 1)
        place = abs(place) if place < 1 else 2 - place
        yield STEP_S, round(math.exp(bottom + width * place))


# Driving has that seed because it then has seven outages, as long together as ATT-LTE-driving's.
RECIPES: Mapping[str, Recipe] = {
    "driving": Recipe("0.15 to 3 Mbit/s, or outages of 2 to 80 s", 900, 40, 52520, _driving),
    "satellite": Recipe("0.5 to 2 Mbit/s, 0.6 s round trip, short gaps", 240, 300, 0, _satellite),
    "steady": Recipe("250 kbit/s", 180, 25, 0, _steady),
    "step": Recipe("2 Mbit/s, then 100 kbit/s, then 2 Mbit/s", 180, 25, 0, _step),
    "subway": Recipe("3G under ground: 0.15 to 1.3 Mbit/s, 22 s of nothing", 280, 60, 0, _subway),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    for name in RECIPES:
        path = FOLDER / f"{name}{SUFFIX}"
        if not check:
            path.write_text(text_of(name), "ascii")
        elif path.read_text("ascii") != text_of(name):
            raise ConfigError(f"{path}: not what its seed makes")


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(f"error: {error}")
