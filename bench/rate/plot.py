"""The picture of the benchmark: right answers over bytes, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from bench.rate.curve import Family
from bench.rate.report import OURS, RAW_BYTES, REGISTERS

mpl.use("Agg")
from matplotlib import pyplot as plt

# Name of the family in the plot, colour, mark; in the order of the legend.
SHOWN = {
    OURS: ("Saccade, operating points", "#c1121f", "o-"),
    REGISTERS: ("Saccade, learned registers", "#f4845f", "s-"),
    "AVIF mosaic": ("AVIF, same views", "#1d3557", "^-"),
    "HEIF mosaic": ("HEIC, same views", "#457b9d", "v-"),
    "WEBP mosaic": ("WebP, same views", "#2a9d8f", "<-"),
    "JPEG mosaic": ("JPEG, same views", "#8ab17d", ">-"),
    "AVIF mosaic at 0.5": ("AVIF, views at half size", "#1d3557", "^:"),
    "AVIF frame": ("AVIF, whole frame", "#6d597a", "D-"),
    "HEIF frame": ("HEIC, whole frame", "#b56576", "h-"),
    "AVIF frame at 0.5": ("AVIF, frame at half size", "#6d597a", "D:"),
    "CLS vectors, int8z": ("one CLS vector a view, int8", "#888888", "*"),
    "CLS vectors, f32": ("one CLS vector a view, float32", "#444444", "*"),
    "uniform, f16": ("all tokens, float16", "#000000", "P"),
}


def draw(known: Mapping[str, Family], path: Path) -> None:
    """Write a PNG; families that were not measured are left out."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 5.2), dpi=120)
    for panel, measure, title in (
        (axes[0], "all", "all questions"),
        (axes[1], "plate", "plate reading"),
    ):
        for name, (label, colour, mark) in SHOWN.items():
            if name in known:
                _line(panel, known[name], measure, label, colour, mark)
        panel.set_xscale("log")
        panel.axvline(RAW_BYTES / 1000, color="#bbbbbb", lw=1, ls="--")
        panel.text(RAW_BYTES / 1000, 0.97, " 0.1 % of the raw frame", color="#888888",
                   transform=panel.get_xaxis_transform(), fontsize=8)  # fmt: skip
        panel.set_xlabel("bytes of the message, mean over frames")
        panel.set_ylabel("right answers, %")
        panel.set_title(title)
        panel.grid(alpha=0.3, which="both", lw=0.5)
    axes[0].legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _line(panel: Axes, family: Family, measure: str, label: str, colour: str, mark: str) -> None:
    points = sorted(family.points, key=lambda score: score.bytes)
    sizes = [score.bytes for score in points]
    shares = [100 * score.accuracy(measure) for score in points]
    spans = [[100 * x for x in score.interval(measure)] for score in points]
    down = [share - low for share, (low, _) in zip(shares, spans, strict=True)]
    up = [high - share for share, (_, high) in zip(shares, spans, strict=True)]
    panel.errorbar(
        sizes, shares, yerr=[down, up], fmt=mark, color=colour, label=label,
        ms=11 if mark == "*" else 4, lw=1.4, elinewidth=0.6, capsize=1.5,
    )  # fmt: skip
