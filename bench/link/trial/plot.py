"""docs/results/link.png: latency of every frame over time, on the link with the longest outage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.link.trial.fates import FrameFate, Trial

SHOWN = ("robust", "AVIF")
_BLUE, _ORANGE, _RED, _GREY = "#1d3557", "#f4a261", "#e63946", "#999999"
_TOP_S = 30.0


def draw(trials: Sequence[Trial], path: Path) -> None:
    """Write the PNG. Nothing is drawn where neither arm is among the trials."""
    chosen = [t for t in trials if t.link == _worst(trials) and t.arm in SHOWN]
    if not chosen:
        return
    figure, panels = plt.subplots(
        len(chosen), 1, figsize=(10, 3 * len(chosen)), dpi=90, sharex=True, squeeze=False
    )
    for panel, trial in zip(panels[:, 0], chosen, strict=True):
        _panel(panel, trial)
    panels[-1, 0].set_xlabel(f"captured at, seconds of {chosen[0].link}")
    figure.supylabel("capture to first token, s", fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _worst(trials: Sequence[Trial]) -> str:
    def longest(trial: Trial) -> float:
        return max((end - begin for begin, end in trial.outages), default=0.0)

    return max(trials, key=longest).link


def _panel(panel: Axes, trial: Trial) -> None:
    for begin, end in trial.outages:
        panel.axvspan(begin, end, color=_RED, alpha=0.12, lw=0)
    panel.axhline(trial.deadline_s, color=_RED, lw=0.8, ls="--")
    groups = (
        ("sent at once", _BLUE, [f for f in trial.frames if f.live and _answered(f)]),
        ("by way of the spool", _ORANGE, [f for f in trial.frames if not f.live and _answered(f)]),
    )
    for name, colour, frames in groups:
        panel.scatter(
            [f.captured_s for f in frames],
            [min(f.latency_s, _TOP_S) for f in frames],
            s=13, color=colour, label=f"{name}: {len(frames)}",
        )  # fmt: skip
    silent = [f for f in trial.frames if not _answered(f)]
    panel.scatter(
        [f.captured_s for f in silent], [_TOP_S] * len(silent),
        s=18, marker="x", color=_GREY, label=f"never answered: {len(silent)}",
    )  # fmt: skip
    panel.set_yscale("log")
    panel.set_ylim(0.03, 40)
    panel.yaxis.set_major_formatter("{x:g}")
    on_time = trial.fates()["on time"]
    panel.set_title(
        f"{trial.arm}: {on_time} of {len(trial.frames)} on time", loc="left", fontsize=10
    )
    panel.legend(fontsize=8, loc="lower left", ncols=3)
    panel.grid(alpha=0.3, lw=0.5, which="both")
    panel.spines[["top", "right"]].set_visible(False)


def _answered(frame: FrameFate) -> bool:
    return math.isfinite(frame.latency_s)
