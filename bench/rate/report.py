"""The benchmark's tables and its last line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.rate.arms import Arm
from bench.rate.curve import Family, bytes_for, interval
from bench.rate.results import Score

MEASURES = ("all", "macro", "plate")
GOALS = (("all", 1.0), ("macro", 1.0), ("plate", 3.0))
OURS, REGISTERS = "ours: operating points", "registers: operating points"
RAW_BYTES = 384 * 640 * 3  # of a frame


def families(arms: Sequence[Arm], found: Mapping[str, Score]) -> dict[str, Family]:
    """Arms grouped, each group beside what its own language side knows from everything."""
    whole = {arm.mind: found[arm.name] for arm in arms if arm.family.endswith(": uncompressed")}
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(arm.family, []).append(arm)
    return {
        name: Family(name, tuple(found[a.name] for a in group), whole[group[0].mind])
        for name, group in groups.items()
    }


def arms_table(arms: Sequence[Arm], found: Mapping[str, Score]) -> str:
    """One line per arm: bytes, and accuracy in percent with the 95 % interval over frames."""
    head = f"{'arm':36s}{'bytes':>9s}{'bare':>9s}" + "".join(f"{m:>8s}" for m in MEASURES)
    lines = [head + f"{'95 % of all':>15s}"]
    for arm in arms:
        score = found[arm.name]
        cells = "".join(f"{100 * score.accuracy(m):8.1f}" for m in MEASURES)
        low, high = (f"{100 * x:.1f}" for x in score.interval("all"))
        sizes = f"{score.sent.mean():9,.0f}{score.payload.mean():9,.0f}"
        lines.append(f"{arm.name:36s}{sizes}{cells}{f'{low}-{high}':>15s}")
    return "\n".join(lines)


def needs_table(known: Mapping[str, Family]) -> str:
    """One line per family: bytes at so many points below its own uncompressed accuracy, and how
    many times ours that is.
    """
    ours = known[OURS]
    head = "".join(f"{f'{m} -{p:g}':>12s}{'x ours':>8s}" for m, p in GOALS)
    lines = [f"{'family':36s}{head}{'bare, all -1':>14s}"]
    for name, family in known.items():
        if len(family.points) == 1 and family.points[0] is family.whole:
            continue
        cells = "".join(_cell(ours, family, m, p) for m, p in GOALS)
        bare = bytes_for(family, "all", 1.0, payload=True)
        lines.append(f"{name:36s}{cells}{_shown(bare):>14s}")
    return "\n".join(lines)


def _cell(ours: Family, family: Family, measure: str, lost: float) -> str:
    size, mine = bytes_for(family, measure, lost), bytes_for(ours, measure, lost)
    ratio = "-" if math.isinf(size) or math.isinf(mine) else f"{size / mine:.1f}"
    return f"{_shown(size):>12s}{ratio:>8s}"


def _shown(size: float) -> str:
    return "-" if math.isinf(size) else f"{size:,.0f}"


def of_views(known: Mapping[str, Family]) -> list[Family]:
    """Image codecs on the same views."""
    return [f for name, f in known.items() if " mosaic" in name or " crops" in name]


def of_frames(known: Mapping[str, Family]) -> list[Family]:
    """Image codecs on the whole frame."""
    return [f for name, f in known.items() if " frame" in name]


def best(theirs: Sequence[Family], measure: str, lost: float) -> Family | None:
    """Who needs the fewest bytes; None where nobody gets there, or there is nobody."""
    found = min(theirs, key=lambda f: bytes_for(f, measure, lost), default=None)
    return None if found is None or math.isinf(bytes_for(found, measure, lost)) else found


def ratios_table(known: Mapping[str, Family]) -> str:
    """The best image codec against each mode of ours, with 95 % intervals over frames."""
    lines = [f"{'best image codec / ours':46s}{'ratio':>8s}{'95 %':>14s}  best"]
    for mode in (OURS, REGISTERS):
        for label, theirs in (("views", of_views(known)), ("frame", of_frames(known))):
            for measure, lost in GOALS:
                chosen = best(theirs, measure, lost)
                if chosen is None or mode not in known:
                    continue
                low, high = interval(known[mode], chosen, measure, lost)
                name = f"{mode.split(':')[0]}, {label}, {measure} -{lost:g}"
                ratio = _ratio(known[mode], chosen, measure, lost)
                lines.append(f"{name:46s}{ratio:8.1f}{f'{low:.1f}-{high:.1f}':>14s}  {chosen.name}")
    return "\n".join(lines)


def _ratio(ours: Family, theirs: Family | None, measure: str, lost: float) -> float:
    """0 where theirs or ours never gets there."""
    mine = bytes_for(ours, measure, lost)
    if theirs is None or math.isinf(mine):
        return 0.0
    return bytes_for(theirs, measure, lost) / mine


def summary(known: Mapping[str, Family]) -> dict[str, Any]:
    """The last line: of the default mode, and under "registers" of that one.

    A ratio of 0 means that no codec, or not we, lost so little.
    """
    found = _summary(known, known[OURS])
    if REGISTERS in known:
        found["registers"] = _summary(known, known[REGISTERS])
    return found


def _summary(known: Mapping[str, Family], ours: Family) -> dict[str, Any]:
    views, frames = of_views(known), of_frames(known)
    goals: dict[str, tuple[list[Family], str, float]] = {
        "ratio_1pt": (views, "all", 1.0),
        "ratio_1pt_macro": (views, "macro", 1.0),
        "ratio_1pt_frame": (frames, "all", 1.0),
        "ratio_3pt_plate": (views, "plate", 3.0),
    }
    found: dict[str, Any] = {
        key: round(_ratio(ours, best(theirs, measure, lost), measure, lost), 2)
        for key, (theirs, measure, lost) in goals.items()
    }
    size = bytes_for(ours, "all", 1.0)
    found["bytes_1pt"] = round(size, 1) if math.isfinite(size) else 0.0
    found["raw_fraction"] = round(size / RAW_BYTES, 6) if math.isfinite(size) else 0.0
    chosen = best(views, "all", 1.0)
    found["best_codec"] = chosen.name if chosen else "none"
    return found
