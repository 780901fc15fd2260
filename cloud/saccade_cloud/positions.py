"""Where every token of a prompt stands in the language model's positions, pruned images included.

A prompt is runs of text and runs of visual tokens. Positions count through the *whole* prompt: a
kept token stands where it stands when nothing is pruned, and text after an image starts after the
whole image. Three schemes:

- ``sequential``: one row, 0, 1, 2, ... through text and visual tokens alike.
- ``mrope``, ``mrope-interleaved`` (Qwen2-VL, arXiv 2409.12191; Qwen3-VL): three rows (t, h, w).
  Text has the same value in all three. An image that begins at p has t = p, h = p + row,
  w = p + column, and text goes on at p + max(h, w). The two differ only in which channels of a
  head each row turns, which is the engine's matter.

Merged tokens may keep the places of several of their members (PPE, arXiv 2510.22936): then there
are 3 x K rows, K of t, K of h, K of w, and the k-th of each is the k-th member's, walked back from
the last one and over again where there are fewer than K. The k-th row of t turns the k-th part of
the channels that t turns, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]

SCHEMES = ("sequential", "mrope", "mrope-interleaved")


@dataclass(frozen=True, slots=True)
class TextRun:
    """``length`` text tokens."""

    length: int


@dataclass(frozen=True, slots=True, eq=False)
class VisualRun:
    """Visual tokens that stand together: an image, or one tile of it between texts.

    ``grid``: (t, h, w) of the whole run. ``kept``: [K] int64, ascending places in it, row-major.
    ``owners``: None, or [t*h*w]: the kept place that each place was merged into, -1 for none.
    """

    grid: tuple[int, int, int]
    kept: I64
    owners: npt.NDArray[np.int32] | None = None

    def __post_init__(self) -> None:
        size = math.prod(self.grid)
        inside = not len(self.kept) or (self.kept[0] >= 0 and self.kept[-1] < size)
        if not (inside and (np.diff(self.kept) > 0).all()):
            raise ValueError(f"kept places ascend within 0..{size - 1}: {self.kept.tolist()}")
        if self.owners is not None and self.owners.shape != (size,):
            raise ValueError(f"{self.owners.shape} owners for {size} places")


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """``rows``: [1 | 3 | 3*K, N] int64; ``next_position``: of the first generated token."""

    rows: I64
    next_position: int


def positions(
    runs: Sequence[TextRun | VisualRun], scheme: str, *, compact: bool = False, members: int = 1
) -> Positions:
    """Of a prompt's tokens, in order.

    ``compact``: kept tokens close ranks, as if the dropped places had never been there: kept tokens
    count on, or rows and columns without a kept token vanish. ``members``: K of a merged token's
    members that keep their place, for the M-RoPE schemes. Raises ``ValueError``.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"positions are {', '.join(SCHEMES)}, not {scheme!r}")
    if scheme == "sequential" and members != 1:
        raise ValueError(f"{members} places of a merged token need M-RoPE")
    place = _sequential if scheme == "sequential" else _mrope
    count = 1 if scheme == "sequential" else 3 * members
    parts, start = [np.zeros((count, 0), np.int64)], 0
    for run in runs:
        if isinstance(run, TextRun):
            parts.append(np.tile(np.arange(start, start + run.length), (count, 1)))
            start += run.length
        else:
            rows, length = place(run, compact, members)
            parts.append(rows + start)
            start += length
    return Positions(np.concatenate(parts, axis=1), start)


def _sequential(run: VisualRun, compact: bool, _: int) -> tuple[I64, int]:
    """([1, K] from the run's start, positions that the run takes)."""
    if compact:
        return np.arange(len(run.kept))[None], len(run.kept)
    return run.kept[None], math.prod(run.grid)


def _mrope(run: VisualRun, compact: bool, members: int) -> tuple[I64, int]:
    """([3*K, N] from the run's start, positions that the run takes)."""
    _, height, width = run.grid
    table = _members(run, members)
    thw = np.stack(np.unravel_index(table, run.grid))  # [3, K, N]
    length = max(height, width)
    if compact:
        ranked = [np.unique(axis, return_inverse=True) for axis in thw]
        thw = np.stack([rank.reshape(table.shape) for _, rank in ranked])
        length = max((len(values) for values, _ in ranked), default=0)
    return thw.reshape(3 * members, -1).astype(np.int64), length


def _members(run: VisualRun, members: int) -> I64:
    """[K, N]: for each kept token K places of those merged into it, from the last one back."""
    if members == 1 or run.owners is None:
        return np.tile(run.kept, (members, 1))
    columns = []
    for kept in run.kept:
        own = np.flatnonzero(run.owners == kept)[::-1]
        columns.append(np.resize(own, members) if len(own) else np.full(members, kept))
    return np.stack(columns, axis=1) if columns else np.zeros((members, 0), np.int64)
