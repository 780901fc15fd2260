"""Tokens that say something first; those that are the same in every picture last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from saccade.selection.attention import ensemble
from saccade.selection.base import keep, ranking
from saccade.selection.exact import bits, directions, lattice, squares
from saccade.types import F32, TokenGrid, TokenSet

ALIVE = 0.6  # share of tokens that are neither sinks nor dead, from the paper's abstract
SINK_RANGES = 3.0  # quartile ranges above the third quartile: Tukey's far out


def alive(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """By attention summed over the exported layers: first among the tokens that are alive, then
    among the dead, then among the sinks; prefix-nested. Needs saliency and features.

    EmbedLens ("What Do Visual Tokens Really Encode? Uncovering Sparsity and Redundancy in
    Multimodal Large Language Models", 2026) tells them by the words of the language model's
    vocabulary that they lie near to, one for each kind. The edge has no vocabulary. Here a sink is
    far longer than the others, as attention sinks are (Darcet et al., "Vision Transformers Need
    Registers", 2024), and the dead are those of the others that lie nearest to their mean
    direction: 40 % with the sinks, the paper's share.
    """
    sinks = _sinks(grid.features)
    scores = ensemble(grid)
    likeness = _commonness(grid.features, ~sinks)
    likeness[sinks] = -np.inf
    useless = int((1 - ALIVE) * len(sinks)) - int(np.count_nonzero(sinks))
    rank = np.where(sinks, 2, 0)
    rank[ranking(likeness)[: max(useless, 0)]] = 1
    # The last key decides first.
    return keep(grid, np.lexsort((-scores, rank))[:budget])


def _sinks(features: F32) -> npt.NDArray[np.bool_]:
    whole, _ = lattice(features)
    lengths = np.sqrt(squares(whole))
    first, third = np.percentile(lengths, [25, 75])
    return np.asarray(lengths > third + SINK_RANGES * (third - first))


def _commonness(features: F32, among: npt.NDArray[np.bool_]) -> F32:
    """[T] cosines with the sum of the directions of the tokens ``among``."""
    whole = directions(features)
    common = np.rint(whole[among].sum(axis=0) / max(np.count_nonzero(among), 1))
    return np.asarray(whole @ common / 4.0 ** bits(features.shape[1]), np.float32)
