"""Clusters around density peaks."""

from __future__ import annotations

import numpy as np

from saccade.selection.base import ranking
from saccade.selection.exact import F64, lattice, squared_distances
from saccade.selection.merging import merged
from saccade.types import F32, TokenGrid, TokenSet

NEIGHBOURS = 5  # a token itself included, as published


def dpc_knn(grid: TokenGrid, budget: int, *, seed: int, text: F32 | None) -> TokenSet:
    """``budget`` centres: dense, and far from what is denser. Every token goes to its nearest
    centre and the centre becomes the mean. Prefix-nested in its ids, not in its features. Needs
    features, no attention.

    The clustering of PPE ("Positional Preservation Embedding for Multimodal Large Language
    Models", 2025), after Du et al., "Study on density peaks clustering based on k-nearest
    neighbors", 2016. Where the published code adds noise against ties, the lowest id wins; the
    product of density and distance is compared by its logarithm, which does not underflow. The
    positions of a cluster's members are in `positions.py`.
    """
    whole, step = lattice(grid.features)
    distances = squared_distances(whole, whole)
    scale = step * step / grid.features.shape[1]
    ranked = ranking(_peaks(distances, scale))[:budget].astype(np.int32)
    centres = np.sort(ranked)
    owners = centres[distances[:, centres].argmin(axis=1)]
    owners[centres] = centres  # duplicates are as near to one as to the other
    return merged(grid, ranked, owners)


def _peaks(distances: F64, scale: float) -> F32:
    """[T, T] squared steps to [T] logarithms of density times distance to the next denser token,
    the largest distance of all where none is denser. ``scale``: of a squared step.
    """
    count = min(NEIGHBOURS, len(distances))
    sparsity = np.partition(distances, count - 1, axis=1)[:, :count].sum(axis=1)
    order = np.argsort(sparsity, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    denser = rank < rank[:, None]
    parents = np.where(denser, distances, distances.max()).min(axis=1)
    with np.errstate(divide="ignore"):  # the logarithm of no distance: the last to be a centre
        logarithm = 0.5 * np.log(parents * scale)
    return np.asarray(logarithm - sparsity * (scale / count), np.float32)
