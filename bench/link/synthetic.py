"""The traces that come with the project, made anew from their seeds, to the byte.

    python -m bench.link.synthetic            # writes bench/link/traces/*.rates
    python -m bench.link.synthetic --check    # fails where a file differs

They are invented, in the shapes that published uplinks have: links are up or down rather than
slowly better or worse, and outages of 2 to 80 s are the usual case when driving (ATT-LTE-driving
of the Mahimahi traces has one of 78 s, the New York subway's 3G some of 22 s).
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
    """Up for 12 to 50 s, down for 2 to 80 s, short outages being as likely as long ones."""
    while True:
        yield from _wander(random, 12 + 38 * random.random(), 300, 5000, 0.35)
        yield round(2 * 40 ** random.random() / STEP_S) * STEP_S, 0


def _satellite(random: Random) -> Steps:
    """Down for half a second to two, every 15 to 45 s."""
    while True:
        yield from _wander(random, 15 + 30 * random.random(), 500, 2000, 0.15)
        yield math.ceil(2 * random.random() / STEP_S) * STEP_S, 0


def _subway(random: Random) -> Steps:
    """Between stations nothing, for 22 s."""
    while True:
        yield from _wander(random, 25 + 30 * random.random(), 150, 1300, 0.3)
        yield 22, 0


def _wander(random: Random, seconds: float, low: int, high: int, pace: float) -> Steps:
    """A walk of the rate's logarithm that turns back at ``low`` and ``high`` kbit/s."""
    bottom, width = math.log(low), math.log(high / low)
    place = random.random()
    for _ in range(round(seconds / STEP_S)):
        place += pace * (2 * random.random() - 1)
        place = abs(place) if place < 1 else 2 - place
        yield STEP_S, round(math.exp(bottom + width * place))


# Driving has that seed because its longest outage is then 76 s; most have none above a minute.
RECIPES: Mapping[str, Recipe] = {
    "driving": Recipe("up or down: 0.3 to 5 Mbit/s, outages of 2 to 80 s", 300, 40, 351, _driving),
    "satellite": Recipe("0.5 to 2 Mbit/s, 0.6 s round trip, short gaps", 240, 300, 0, _satellite),
    "steady": Recipe("250 kbit/s", 180, 25, 0, _steady),
    "step": Recipe("2 Mbit/s, then 100 kbit/s, then 2 Mbit/s", 180, 25, 0, _step),
    "subway": Recipe("3G under ground: 0.15 to 1.3 Mbit/s, 22 s of nothing", 240, 60, 0, _subway),
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
