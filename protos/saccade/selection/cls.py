"""Keep what the encoder's CLS token attends to.

The score of a patch is the head-mean of CLS's softmax attention to it. Which layers take part is
settled at export.
"""

from __future__ import annotations

from saccade.selection.attention import ensemble, last_layer
from saccade.selection.base import keep, ranking
from saccade.types import F32, TokenGrid, TokenSet


def cls_ensemble(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The ``budget`` highest sums over the exported layers; prefix-nested. Needs saliency.

    VTC-CLS (Wang et al., "[CLS] Token Tells Everything Needed for Training-free Efficient MLLMs",
    2024). No departure, but for ties: the published code leaves them to torch.topk.
    """
    return keep(grid, ranking(ensemble(grid))[:budget])


def cls_topk(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """The ``budget`` highest scores of the last exported layer; prefix-nested. Needs saliency.

    FasterVLM (Zhang et al., "[CLS] Attention is All You Need for Training-Free Visual Token
    Pruning", 2024). It takes the encoder's second last layer and selects after the projector; here
    it is whichever layer was exported last, and before: the same for a projector per token.
    """
    return keep(grid, ranking(last_layer(grid))[:budget])
