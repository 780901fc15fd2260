"""Rotary frequencies, as transformers computes them for a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from saccade.errors import BundleError
from saccade.types import F32
from saccade_export.language_export.shape import LanguageShape, Traits

# Those whose frequencies do not depend on how long the text is.
FIXED = ("linear", "llama3", "yarn")


@dataclass(frozen=True, slots=True, eq=False)
class Rope:
    """``frequencies`` [head_dim / 2] float32; ``scale``: of sine and cosine; ``rows``: which row
    of the positions (time, height, width) each frequency turns by, None where there is one row.
    """

    frequencies: F32
    scale: float
    rows: npt.NDArray[np.int64] | None


def read_rope(config: PreTrainedConfig, kind: str, shape: LanguageShape) -> Rope:
    """Of the layers of ``kind``. Raises ``BundleError`` for one that cannot be exported."""
    config.standardize_rope_params()
    stated: Mapping[str, Any] = config.rope_parameters or {}
    nested = kind in stated
    own: Mapping[str, Any] = stated[kind] if nested else stated
    name = own.get("rope_type", "default")
    if float(own.get("partial_rotary_factor") or 1.0) != 1.0:
        raise BundleError("rotary embeddings of a part of the head cannot be exported")
    if name == "default":
        half = np.arange(0, shape.head_dim, 2, dtype=np.float32) / np.float32(shape.head_dim)
        frequencies, scale = 1.0 / np.float32(own["rope_theta"]) ** half, 1.0
    elif name in FIXED:
        found, scale = ROPE_INIT_FUNCTIONS[name](config, None, layer_type=kind if nested else None)
        frequencies = found.numpy()
    else:
        raise BundleError(
            f"rotary embeddings of type {name!r} cannot be exported, "
            f"only default, {', '.join(FIXED)}"
        )
    rows = _rows(own, shape.traits, shape.head_dim // 2)
    return Rope(frequencies.astype(np.float32), float(scale), rows)


def _rows(stated: Mapping[str, Any], traits: Traits, half: int) -> npt.NDArray[np.int64] | None:
    """Chunks of frequencies turn by one row each (Qwen2-VL), or rows take turns (Qwen3-VL)."""
    if not traits.sections:
        return None
    sections = list(stated.get("mrope_section") or traits.sections)
    if len(sections) != 3 or sum(sections) != half:
        raise BundleError(f"mrope_section {sections} does not split {half} frequencies in three")
    if not traits.interleaved:
        return np.repeat(np.arange(3), sections)
    rows = np.zeros(half, np.int64)
    for row in (1, 2):
        rows[row : 3 * sections[row] : 3] = row
    return rows
