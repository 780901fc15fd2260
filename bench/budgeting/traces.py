"""Links for the simulation: made-up ones, and recorded ones from files.

A recorded file is in Mahimahi's format: a line per chance to deliver 1504 bytes, with its time in
milliseconds; at its end it begins anew.
"""

from __future__ import annotations

import bisect
import gzip
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHANCE_BYTES = 1504  # mahimahi's packets: 1500 and a header of its tunnel
USUAL_DELAY_S = 0.025
# A rate for a while: (seconds, bytes a second).
Stretch = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Link:
    """``bytes_by(seconds)``: what could have been delivered by then, ever more; ``delay_s``: one
    way, on top.
    """

    name: str
    seconds: float
    bytes_by: Callable[[float], float]
    delay_s: float = USUAL_DELAY_S


def repeating(seconds: float, once: Callable[[float], float]) -> Callable[[float], float]:
    """A trace that begins anew at its end."""
    total = once(seconds)

    def bytes_by(now_s: float) -> float:
        rounds, rest_s = divmod(max(now_s, 0.0), seconds)
        return rounds * total + once(rest_s)

    return bytes_by


def of_stretches(name: str, stretches: Sequence[Stretch], delay_s: float = USUAL_DELAY_S) -> Link:
    ends = list(itertools.accumulate(s for s, _ in stretches))
    totals = [0.0, *itertools.accumulate(s * rate for s, rate in stretches)]

    def once(now_s: float) -> float:
        at = min(bisect.bisect_left(ends, now_s), len(ends) - 1)
        since_s = now_s - (ends[at - 1] if at else 0.0)
        return totals[at] + since_s * stretches[at][1]

    return Link(name, ends[-1], repeating(ends[-1], once), delay_s)


def of_file(path: Path) -> Link | None:
    """None where it is no such file."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt") as lines:
            chances = [int(line) for line in lines]
    except ValueError:  # another format, or no text
        return None
    if not chances or chances[-1] <= 0 or chances != sorted(chances):
        return None

    def once(now_s: float) -> float:
        return float(bisect.bisect_right(chances, now_s * 1e3) * CHANCE_BYTES)

    return Link(path.stem, chances[-1] / 1e3, repeating(chances[-1] / 1e3, once))


def in_folder(folder: Path) -> list[Link]:
    """Every such file in it, by name."""
    found = (of_file(path) for path in sorted(folder.rglob("*")) if path.is_file())
    return [link for link in found if link is not None]


def made_up() -> list[Link]:
    """Always the same."""
    mbit = 1e6 / 8
    return [
        of_stretches("steady 250 kbit/s", [(300, 0.25 * mbit)]),
        of_stretches("thin 8 kbit/s", [(300, 0.008 * mbit)]),
        of_stretches("step 2, 0.1, 2 Mbit/s", [(60, 2 * mbit), (60, 0.1 * mbit), (60, 2 * mbit)]),
        of_stretches("driving, outages 2-80 s", _driving(1, 900)),
        of_stretches("satellite 600 ms", [(300, mbit)], delay_s=0.3),
    ]


def _driving(seed: int, seconds: float) -> list[Stretch]:
    """Good for half a minute or so, another rate each second; then nothing."""
    chance = random.Random(seed)
    stretches: list[Stretch] = []
    while sum(s for s, _ in stretches) < seconds:
        good_s = round(chance.expovariate(1 / 40)) + 5
        stretches += [(1.0, chance.lognormvariate(11.5, 0.8)) for _ in range(good_s)]
        stretches.append((2 * 40 ** (chance.random() ** 2), 0.0))
    return stretches
