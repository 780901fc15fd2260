"""One number for what all selection methods keep of a large grid."""

from __future__ import annotations

import hashlib

import numpy as np

from saccade.selection import METHODS, select
from saccade_testing.tokens import token_grid


def digest_of_all() -> str:
    """Of ids, order, features and owners, every method, 64 of 576 tokens of 256 features."""
    grid = token_grid(8, (1, 24, 24), dim=256)
    text = np.random.default_rng(9).normal(size=(5, 256)).astype(np.float32)
    digest = hashlib.sha256()
    for method in METHODS:
        kept = select(grid, 64, method=method, seed=3, text=text)
        for array in (kept.ids, kept.order, kept.features, kept.owners):
            digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()
