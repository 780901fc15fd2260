"""Which place attends to which: causal, and what a prompt adds to or takes from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from saccade_cloud.engines.base import I64
from saccade_cloud.engines.reading import Piece

Mask = npt.NDArray[np.bool_]


def attention(pieces: Sequence[Piece], lengths: I64, columns: int) -> Mask:
    """[B, L, columns]: whether each place that is read now attends to each column.

    Rows are left padded: row b has its places in the last ``lengths[b]`` columns, and its piece in
    the last ones of these. Padding attends to itself alone, so that no row is without a weight.
    """
    read = max(len(piece) for piece in pieces)
    query, key = np.arange(columns - read, columns)[:, None], np.arange(columns)[None]
    allowed = np.repeat((key <= query)[None], len(pieces), axis=0)
    blocks = np.stack([_blocks(piece, read) for piece in pieces])
    allowed[:, :, columns - read :] |= (blocks[:, :, None] == blocks[:, None]) & (
        blocks[:, :, None] >= 0
    )
    allowed &= key[None] >= (columns - lengths)[:, None, None]
    seen: Mask = allowed | (key == query)[None]
    return seen


def window(mask: Mask, places: I64, size: int) -> Mask:
    """``mask`` without what lies ``size`` or more places before. ``places``: [B, columns]."""
    read, columns = mask.shape[1:]
    near = places[:, None] > places[:, columns - read :, None] - size
    return mask & (near | np.eye(read, columns, columns - read, dtype=bool)[None])


def _blocks(piece: Piece, read: int) -> I64:
    """[read] the number of the block in which places attend to each other both ways; -1: none."""
    blocks = np.full(read, -1, np.int64)
    padding = read - len(piece)
    if piece.prefix_attention:
        blocks[padding:] = 0
        return blocks
    for number, span in enumerate(piece.spans):
        if span.bidirectional:
            blocks[padding + span.start : padding + span.stop] = number
    return blocks
