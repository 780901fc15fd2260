"""Methods by name, and the one function that stages call."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saccade.errors import SelectionError
from saccade.selection.alive import alive
from saccade.selection.apet import apet
from saccade.selection.base import Selector
from saccade.selection.cdpruner import cdpruner
from saccade.selection.cls import cls_ensemble, cls_topk
from saccade.selection.divprune import divprune
from saccade.selection.dpc_knn import dpc_knn
from saccade.selection.flashvlm import flashvlm
from saccade.selection.id_selection import id_selection
from saccade.selection.mmr import mmr
from saccade.selection.mmtok import mmtok
from saccade.selection.mustdrop import mustdrop
from saccade.selection.needs import NEEDS, missing
from saccade.selection.pool2d import pool2d
from saccade.selection.prumerge import prumerge
from saccade.selection.prunesid import prunesid
from saccade.selection.random import random
from saccade.selection.scope import scope
from saccade.selection.tome import tome
from saccade.selection.uniform import uniform
from saccade.selection.visionzip import visionzip, visionzip_mean
from saccade.selection.vispruner import vispruner
from saccade.types import F32, TokenGrid, TokenSet

METHODS: Mapping[str, Selector] = {
    "cls_ensemble": cls_ensemble,
    "cls_topk": cls_topk,
    "uniform": uniform,
    "random": random,
    "pool2d": pool2d,
    "vispruner": vispruner,
    "visionzip": visionzip,
    "visionzip_mean": visionzip_mean,
    "divprune": divprune,
    "mmr": mmr,
    "scope": scope,
    "apet": apet,
    "prumerge": prumerge,
    "cdpruner": cdpruner,
    "flashvlm": flashvlm,
    "tome": tome,
    "mustdrop": mustdrop,
    "dpc_knn": dpc_knn,
    "alive": alive,
    "mmtok": mmtok,
    "id_selection": id_selection,
    "prunesid": prunesid,
}
# These rank against a text, which an edge that sends before it is asked does not have.
TEXT_GUIDED = frozenset(name for name, needs in NEEDS.items() if "text" in needs)
UNGUIDED = tuple(name for name in METHODS if name not in TEXT_GUIDED)


def select(
    grid: TokenGrid,
    budget: int,
    *,
    method: str = "cls_ensemble",
    seed: int = 0,
    text: F32 | None = None,
) -> TokenSet:
    """``budget`` of the grid's tokens by a named method.

    ``text``: [M, D] float32 features of a text, for the methods in ``TEXT_GUIDED``.
    Raises SelectionError for an unknown method, a budget outside 1..T, a negative seed, a text that
    is missing or of another shape, features that are not finite, saliency or keys that the method
    needs and the encoder does not export, or a grid that the method can't rank.
    """
    selector = METHODS.get(method)
    if selector is None:
        known = ", ".join(sorted(METHODS))
        raise SelectionError(f"unknown selection method {method!r}, known are: {known}")
    tokens = len(grid.features)
    if not 1 <= budget <= tokens:
        raise SelectionError(
            f"a budget of {budget} tokens for a view of {tokens}: give 1..{tokens}"
        )
    if seed < 0:
        raise SelectionError(f"a seed of {seed}: give 0 or more")
    _check_finite("feature", grid.features)
    if text is not None:
        _check_text(text, grid.features.shape[1])
    elif method in TEXT_GUIDED:
        raise SelectionError(f"{method} is guided by a text: give its features, [M, D] float32")
    _check_exports(method, grid)
    return selector(grid, budget, seed=seed, text=text)


def _check_exports(method: str, grid: TokenGrid) -> None:
    exports = {"saliency": grid.saliency, "keys": grid.keys}
    for what in missing(method, [name for name, array in exports.items() if array.size]):
        raise SelectionError(
            f"{method} needs {what}, the encoder exports {list(exports[what].shape)}"
        )


def _check_text(text: F32, dim: int) -> None:
    if text.dtype != np.float32 or text.ndim != 2 or text.shape[1] != dim or not len(text):
        raise SelectionError(
            f"text features are float32 [M, {dim}], not {text.dtype} {list(text.shape)}"
        )
    _check_finite("text feature", text)


def _check_finite(what: str, values: F32) -> None:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise SelectionError(f"{bad} of {values.size} {what} values are not finite")
