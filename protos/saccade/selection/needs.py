"""What each selection method needs beside features, by its name. No selector is imported here, so
that whoever checks a manifest needs none of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

Need = Literal["saliency", "keys", "text"]

_FEATURES_ONLY: frozenset[Need] = frozenset()
_SALIENCY: frozenset[Need] = frozenset({"saliency"})
_SALIENCY_AND_KEYS: frozenset[Need] = frozenset({"saliency", "keys"})

NEEDS: Mapping[str, frozenset[Need]] = {
    "cls_ensemble": _SALIENCY,
    "cls_topk": _SALIENCY,
    "uniform": _FEATURES_ONLY,
    "random": _FEATURES_ONLY,
    "pool2d": _FEATURES_ONLY,
    "vispruner": _SALIENCY,
    "visionzip": _SALIENCY_AND_KEYS,
    "visionzip_mean": _SALIENCY_AND_KEYS,
    "divprune": _FEATURES_ONLY,
    "mmr": _SALIENCY,
    "scope": _SALIENCY,
    "apet": _FEATURES_ONLY,
    "prumerge": _SALIENCY_AND_KEYS,
    "cdpruner": frozenset({"text"}),
    "flashvlm": frozenset({"saliency", "text"}),
    "tome": frozenset({"keys"}),
    "mustdrop": _SALIENCY,
    "dpc_knn": _FEATURES_ONLY,
    "alive": _SALIENCY,
    "mmtok": _FEATURES_ONLY,
    "id_selection": _SALIENCY,
    "prunesid": _FEATURES_ONLY,  # takes saliency where there is one
}

# Of an encoder that nothing is known about: coverage, from features alone.
COVERAGE_METHOD = "mmtok"


def missing(method: str, exports: Collection[str]) -> tuple[str, ...]:
    """What a known ``method`` needs of the encoder that is not among its ``exports`` ("saliency",
    "keys"), sorted. A text comes with a question, not from the encoder.
    """
    return tuple(sorted(NEEDS[method] - {"text"} - set(exports)))


def usable(exports: Collection[str]) -> tuple[str, ...]:
    """The methods that an encoder with these ``exports`` can run before there is a question."""
    return tuple(
        method
        for method, needs in NEEDS.items()
        if "text" not in needs and not missing(method, exports)
    )
