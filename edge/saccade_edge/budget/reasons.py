"""Decisions in one plain sentence each."""

from __future__ import annotations

from saccade_edge.budget.decision import Bound


def of_point(bound: Bound, number: int, points: int, rate: float | None, backlog: float) -> str:
    """Why a live frame is sent at this point. ``rate``: bytes a second; ``backlog``: bytes."""
    what = f"point {number} of 0 to {points - 1}"
    if bound == "best":
        return f"{what}: the bundle's best, and the link carries it"
    if bound == "fixed":
        return f"{what}: the only one that this policy uses"
    if bound == "start":
        return f"{what}: small until the link has shown what it carries"
    if bound == "probe":
        return f"{what}: the link seems to have room for more, one step at a time"
    left = f", {backlog:.0f} bytes of which are still to come" if backlog >= 1 else ""
    carries = "an unknown rate" if rate is None else f"{rate * 8 / 1e3:.1f} kbit/s"
    return f"{what}: the best that fits a link of {carries}{left}"


def of_max_point(number: int, points: int, *, asked: bool) -> str:
    """Why a live frame goes no higher although it might. ``asked``: by the user."""
    what = f"point {number} of 0 to {points - 1}"
    if asked:
        return f"{what}: the highest that the settings allow, and the link carries it"
    return f"{what}: more bytes would hardly change an answer, and the link carries these"


def of_age(oldest_s: float, deadline_s: float) -> str:
    """Why the age gate keeps a frame back."""
    return (
        f"to the spool: the oldest packet is not acknowledged after {oldest_s:.1f} s, "
        f"the deadline is {deadline_s:g} s"
    )


def of_gate_probe(number: int, oldest_s: float) -> str:
    """Why a frame goes out although the age gate is shut."""
    return f"point {number}: asks whether the link is back, which was silent for {oldest_s:.1f} s"


def of_cloud(frames_per_minute: float, words: str) -> str:
    """Why the cloud's bound on frames keeps one back. ``words``: the cloud's."""
    said = f" ({words})" if words else ""
    return f"to the spool: the cloud takes {frames_per_minute:g} frames a minute{said}"


def of_share(number: int, left_bytes: float) -> str:
    """Why a live frame is smaller: the day's cap is near."""
    return f"point {number}: {left_bytes:.0f} bytes of the day's cap are left for this camera"


def of_cap(bytes_per_day: int) -> str:
    """Why a camera sends nothing more today."""
    return f"not sent: this camera's cap of {bytes_per_day} bytes a day is reached"


CONNECTION = "to the spool: there is no connection to the cloud"
