"""Keep what the encoder's CLS token attends to, summed over the exported layers.

VTC-CLS (Wang et al., "[CLS] Token Tells Everything Needed for Training-free Efficient MLLMs",
2024): the score of a patch is the sum over layers of the head-mean of CLS's softmax attention to
it. Which layers take part is settled at export.
"""

from __future__ import annotations

import numpy as np

from saccade.errors import SelectionError
from saccade.nouns import TokenGrid, TokenSet
from saccade.selection.base import keep


def cls_ensemble(grid: TokenGrid, budget: int, *, seed: int) -> TokenSet:
    """The ``budget`` highest scores; prefix-nested. ``seed`` is not used."""
    if 0 in grid.saliency.shape:
        raise SelectionError(
            f"cls_ensemble needs saliency rows, this encoder exports {list(grid.saliency.shape)}"
        )
    scores = grid.saliency.mean(axis=1, dtype=np.float32).sum(axis=0, dtype=np.float32)
    if not np.all(np.isfinite(scores)):
        bad = int(np.count_nonzero(~np.isfinite(scores)))
        raise SelectionError(f"{bad} of {len(scores)} saliency scores are not finite")
    # Stable on the negated scores: of equal scores the lowest id comes first.
    return keep(grid, np.argsort(-scores, kind="stable")[:budget])
