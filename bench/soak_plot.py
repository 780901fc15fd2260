"""The picture of a soak: memory of both processes over time, and the cuts."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from bench.soak import Soaked

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(run: Soaked, path: Path) -> None:
    """Write a PNG."""
    minutes = [sample.at_s / 60 for sample in run.samples]
    figure, axes = plt.subplots(figsize=(8, 3.2), dpi=110)
    axes.plot(minutes, [s.edge_mb for s in run.samples], color="#c1121f", lw=1.2, label="edge")
    axes.plot(minutes, [s.cloud_mb for s in run.samples], color="#1d3557", lw=1.2, label="cloud")
    for cut_s in run.cuts_s:
        axes.axvline(cut_s / 60, color="#cccccc", lw=0.6)
    axes.axvspan(0, run.from_s / 60, color="#f4f4f4")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes (grey: its growth does not count; lines: connection cut)")
    axes.set_ylabel("resident, MB")
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
