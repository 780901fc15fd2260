"""The benchmark's table and its last line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench.rate.arms import Arm
from bench.rate.curve import Family, bytes_for
from bench.rate.results import Score

WHOLE = {"ours": "all tokens", "theirs": "views as they are"}
MEASURES = ("all", "macro", "plate")


def families(arms: Sequence[Arm], found: Mapping[str, Score]) -> dict[str, Family]:
    """Arms grouped, each group beside the lossless arm of the same language side."""
    whole = {arm.mind: found[arm.name] for arm in arms if arm.family == WHOLE[arm.mind]}
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(arm.family, []).append(arm)
    return {
        name: Family(name, tuple(found[a.name] for a in group), whole[group[0].mind])
        for name, group in groups.items()
    }


def table(arms: Sequence[Arm], found: Mapping[str, Score]) -> str:
    """One line per arm."""
    lines = [f"{'arm':34s}{'bytes':>9s}" + "".join(f"{m:>9s}" for m in MEASURES)]
    for arm in arms:
        score = found[arm.name]
        cells = "".join(f"{100 * score.accuracy(m):9.1f}" for m in MEASURES)
        lines.append(f"{arm.name:34s}{score.bytes:9.0f}{cells}")
    return "\n".join(lines)


def needs(known: Mapping[str, Family]) -> str:
    """One line per family: bytes at one point below its own uncompressed accuracy."""
    wanted = (("all", 1.0), ("macro", 1.0), ("plate", 3.0))
    lines = [f"{'family':34s}" + "".join(f"{f'{m} -{p:g}':>12s}" for m, p in wanted)]
    for name, family in known.items():
        cells = "".join(f"{_shown(bytes_for(family, m, p)):>12s}" for m, p in wanted)
        lines.append(f"{name:34s}{cells}")
    return "\n".join(lines)


def _shown(size: float) -> str:
    return "-" if math.isinf(size) else f"{size:,.0f}"
