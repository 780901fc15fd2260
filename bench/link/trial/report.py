"""The tables, the goals and the last line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bench.common import table
from bench.link.trial.fates import Score, Trial, crossover, quantiles, score

DEFAULT, ORACLE, RIVAL = "robust", "oracle", "AVIF"
ON_TIME, ON_TIME_WORST, LIVE_P95_S, ORACLE_SHARE = 0.95, 0.80, 1.0, 0.95


def policies(trials: Sequence[Trial]) -> str:
    """A column for each arm."""
    columns = {arm: _cells(score(found)) for arm, found in by_arm(trials).items()}
    return table("over all links", columns, width=11)


def links(trials: Sequence[Trial]) -> str:
    """On time of what each link could carry, a row for each link."""
    rows: dict[str, dict[str, str]] = {}
    for arm, found in by_arm(trials).items():
        rows[arm] = {t.link: f"{t.on_time * 100:.1f}" for t in found}
    first = next(iter(by_arm(trials).values()))
    reach = {t.link: f"{t.within_reach / len(t.frames) * 100:.1f}" for t in first}
    return table("on time, %", {**rows, "in reach": reach}, width=11)


def fates(trials: Sequence[Trial]) -> str:
    """How many frames of each arm came to what; each column's sum is what was captured."""
    columns: dict[str, dict[str, str]] = {}
    for arm, found in by_arm(trials).items():
        counts = score(found).fates
        column: dict[str, str] = {fate: f"{count}" for fate, count in counts.items()}
        columns[arm] = {**column, "= captured": f"{sum(counts.values())}"}
    return table("frames", columns, width=11)


def rates(trials: Sequence[Trial]) -> str:
    """Latency at constant rates, a row for each."""
    columns: dict[str, dict[str, str]] = {}
    for arm, found in by_arm(trials).items():
        columns[f"{arm} p50 / p95"] = {
            t.link: " / ".join(_seconds(s) for s in quantiles(t.live_latencies())[:2])
            for t in found
        }
        columns[f"{arm} bytes"] = {
            t.link: f"{fmean(f.packet_bytes for f in t.frames if f.taken):,.0f}" for t in found
        }
    return table("constant rate", columns, width=18)


def by_arm(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.arm, []).append(trial)
    return found


def summary(
    over_links: Sequence[Trial], at_rates: Mapping[float, Sequence[Trial]]
) -> dict[str, Any]:
    """The last line: of the default policy. ``avif_crossover_mbit`` None: at no rate that was
    tried.
    """
    scores = {arm: score(found) for arm, found in by_arm(over_links).items()}
    ours = scores.get(DEFAULT)
    oracle = scores.get(ORACLE)
    return {
        "on_time_mean": _number(ours.on_time) if ours else None,
        "on_time_worst": _number(ours.on_time_worst) if ours else None,
        "live_p95_s": _number(ours.p95_s) if ours else None,
        "oracle_share": _number(ours.utility / oracle.utility) if ours and oracle else None,
        "avif_crossover_mbit": avif_crossover(at_rates),
    }


def avif_crossover(at_rates: Mapping[float, Sequence[Trial]]) -> float | None:
    """By medians of live frames."""
    medians: dict[str, dict[float, float]] = {}
    for rate, found in at_rates.items():
        for trial in found:
            medians.setdefault(trial.arm, {})[rate] = quantiles(trial.live_latencies())[0]
    return crossover(medians.get(DEFAULT, {}), medians.get(RIVAL, {}))


def impossible(trials: Sequence[Trial]) -> str:
    """What no policy could have changed: by the trace alone, and by what the oracle made of it."""
    scores = {arm: score(found) for arm, found in by_arm(trials).items()}
    any_arm = next(iter(scores.values()))
    lines = [
        "out of the links' reach (an outage is in the way of even the smallest frame): "
        f"{1 - any_arm.within_reach:.1%} of frames, {1 - any_arm.within_reach_worst:.1%} on the "
        "worst link"
    ]
    if (oracle := scores.get(ORACLE)) is not None:
        missed = f"{1 - oracle.on_time:.1%}, {1 - oracle.on_time_worst:.1%}"
        lines.append(f"not on time under the oracle: {missed} on the worst link")
    return "\n".join(lines)


def goals(
    trials: Sequence[Trial],
    at_rates: Mapping[float, Sequence[Trial]],
    record: Mapping[str, Any],
) -> str:
    """Each goal with what came out; what a link makes impossible is no excuse here."""
    found = by_arm(trials)[DEFAULT]
    ours, worst = score(found), min(found, key=lambda trial: trial.on_time)
    reach = worst.within_reach / len(worst.frames)
    model = 0.0 if math.isnan(ours.model_s) else ours.model_s
    lines = [
        _goal("on time, mean", ours.on_time, ON_TIME, of=f"in reach: {ours.within_reach:.3f}"),
        _goal(
            "on time, worst link",
            ours.on_time_worst,
            ON_TIME_WORST,
            of=f"in reach there: {reach:.3f}",
        ),
        _goal("p95 of live frames, s", ours.p95_s, LIVE_P95_S + model, most=True),
    ]
    if (share := record["oracle_share"]) is not None:
        lines.append(_goal("utility, of the oracle's", share, ORACLE_SHARE))
    if {RIVAL, DEFAULT} <= {trial.arm for found in at_rates.values() for trial in found}:
        rate = record["avif_crossover_mbit"]
        told = "at no rate" if rate is None else f"from {rate:g} Mbit/s on"
        met = "met   " if rate is None else "MISSED"
        lines.append(f"{met}  {RIVAL} is faster {told}, of those up to {max(at_rates):g} Mbit/s")
    return "\n".join(lines)


def _goal(name: str, found: float, wanted: float, *, most: bool = False, of: str = "") -> str:
    met = found <= wanted if most else found >= wanted
    bound = "at most" if most else "at least"
    told = f"{'met   ' if met else 'MISSED'}  {name}: {found:.3f}, wanted {bound} {wanted:.3f}"
    return told + (f" ({of})" if of else "")


def _cells(score: Score) -> dict[str, str]:
    return {
        "on time, %": f"{score.on_time * 100:.1f}",
        "worst link, %": f"{score.on_time_worst * 100:.1f}",
        "utility": f"{score.utility:.3f}",
        "live p50, s": _seconds(score.p50_s),
        "live p95, s": _seconds(score.p95_s),
        "live p99, s": _seconds(score.p99_s),
        "computing, s": _seconds(score.model_s),
        "wire bytes a frame": f"{score.bytes_a_frame:,.0f}",
        "left in the spool": f"{score.waiting}",
        "recovery p50, s": _seconds(score.recovery_s),
        "recovery worst, s": _seconds(score.recovery_worst_s),
    }


def _seconds(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "never" if math.isinf(value) else f"{value:.2f}"


def _number(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return round(value, 4) if math.isfinite(value) else None
