"""docs/results/traces.png: the shipped traces' rate over time.

python -m bench.link.plot [PATH]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bench.link.synthetic import RECIPES
from bench.link.trace import Trace
from bench.link.trace_files import trace_of

PATH = Path(__file__).parents[2] / "docs" / "results" / "traces.png"
ORDER = ("steady", "step", "driving", "satellite", "subway")
BIN_S = 0.5
_BLUE, _RED = "#1d3557", "#e63946"


def draw(path: Path) -> None:
    """Write the PNG: a panel a trace, outages shaded."""
    figure, panels = plt.subplots(len(ORDER), 1, figsize=(10, 9), dpi=90)
    for panel, name in zip(panels, ORDER, strict=True):
        _panel(panel, name, trace_of(name))
    panels[-1].set_xlabel("seconds")
    figure.supylabel("Mbit/s", fontsize=10)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def _panel(panel: Axes, name: str, trace: Trace) -> None:
    rates = trace.rates_bps(BIN_S) / 1e6
    edges = np.arange(len(rates) + 1) * BIN_S
    panel.stairs(rates, edges, color=_BLUE, lw=0.9, fill=False, baseline=None)
    panel.stairs(rates, edges, color=_BLUE, fill=True, alpha=0.18)
    top = float(rates.max()) * 1.15
    still = np.flatnonzero(np.diff(np.concatenate([[0], rates == 0, [0]])))
    for begin, end in still.reshape(-1, 2) * BIN_S:
        panel.axvspan(begin, end, color=_RED, alpha=0.16, lw=0)
        if end - begin >= 10:
            panel.text((begin + end) / 2, top * 0.5, f"{end - begin:g} s", color=_RED,
                       ha="center", va="center", fontsize=8)  # fmt: skip
    panel.set_xlim(0, trace.period_s)
    panel.set_ylim(0, top)
    panel.set_title(f"{name}: {RECIPES[name].title}", loc="left", fontsize=9.5)
    panel.set_title(
        f"mean {trace.mean_bps / 1e6:.2f} Mbit/s, {trace.delay_s * 1000:g} ms one way",
        loc="right", fontsize=8.5, color="#666666",
    )  # fmt: skip
    panel.grid(alpha=0.3, lw=0.5)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else PATH)
