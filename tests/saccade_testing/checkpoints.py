"""Tiny random checkpoints of every family: ``FAMILIES[name](folder)`` writes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from saccade_testing import gemma_checkpoints, grid_checkpoints, tiled_checkpoints

FAMILIES: Mapping[str, Callable[..., Path]] = {
    **tiled_checkpoints.FAMILIES,
    **grid_checkpoints.FAMILIES,
    **gemma_checkpoints.FAMILIES,
}


def make(name: str, folder: Path, **saving: object) -> Path:
    """Write the tiny checkpoint of a family; ``saving``: as of `checkpoint_parts.save`."""
    return FAMILIES[name](folder, **saving)
