"""What codebooks are fitted to in training: views of rendered frames as an edge would send them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from saccade.types import F32, ViewKind, view_kinds
from saccade_calibration.sample_views import SampleView
from saccade_drawn_world.tiny.registers import Registers
from saccade_drawn_world.training.shards import Shard, shard_folders

VIEWS = 50_000  # a codebook's rare entries are seen too rarely in fewer

# Some of a shard's views, by index, and their features: [V, T, D], with scores [V, T].
Seen = tuple[F32, npt.NDArray[np.float32]]


def tokens(root: Path) -> list[SampleView]:
    """Views of all shards alike, tokens ranked by saliency."""

    def seen(folder: Path, views: slice) -> Seen:
        features = np.load(folder / "features.npy", mmap_mode="r")[views]
        return features.astype(np.float32), np.load(folder / "scores.npy")[views]

    return list(_sample(root, seen))


@torch.no_grad()
def condensed(root: Path, registers: Registers) -> list[SampleView]:
    """The same views as registers, the first of which say most."""

    def seen(folder: Path, views: slice) -> Seen:
        arrays = [np.load(folder / f"{n}.npy", mmap_mode="r")[views] for n in ("features", "cls")]
        made = registers(*(torch.from_numpy(array.astype(np.float32)) for array in arrays)).numpy()
        return made, -np.broadcast_to(np.arange(made.shape[1], dtype=np.float32), made.shape[:2])

    return list(_sample(root, seen))


def _sample(root: Path, seen: Callable[[Path, slice], Seen]) -> Iterator[SampleView]:
    folders = [f for f in shard_folders(root) if (f / "features.npy").exists()]
    each = -(-VIEWS // len(folders))
    for folder in folders:
        shard = Shard.open(folder)
        last = int(np.searchsorted(shard.offsets, each))
        views = slice(0, int(shard.offsets[min(last, len(shard.frames))]))
        features, scores = seen(folder, views)
        kinds: list[ViewKind] = [k for frame in shard.frames for k in _kinds(frame)]
        for kind, ranked, mine in zip(kinds, scores, features, strict=False):
            order = np.argsort(-ranked.astype(np.float32), kind="stable").astype(np.int32)
            yield SampleView.of(kind, order, mine)


def _kinds(frame: dict[str, Any]) -> tuple[ViewKind, ...]:
    closeups = len(frame["closeups"])
    crops = len(frame["windows"]) - 1 - closeups
    return view_kinds(crops, closeups)
