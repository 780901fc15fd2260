"""Tiles are, pixel for pixel, what each family's own image processor makes of a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from saccade_edge import preprocess
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import base
from saccade_testing import checkpoints

FAMILIES = ("llava", "llava-onevision", "smolvlm", "idefics3", "internvl")
# Tiny, square, wide, high, larger than any tiling, extreme aspects, one pixel over a tile.
SIZES = (
    (1, 1), (3, 5), (56, 56), (57, 56), (56, 57), (90, 140), (140, 90), (113, 112), (37, 300),
    (300, 37), (1200, 1600), (1999, 1001), (10, 900),
)  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint") / request.param
    return Checkpoint(checkpoints.make(request.param, folder))


def picture(height: int, width: int) -> np.ndarray:
    """Smooth ramps with noise: resampling filters and shifts by a pixel show."""
    rng = np.random.default_rng(height * 10_000 + width)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([y * 255 // height, x * 255 // width, (x + y) % 256], axis=-1)
    return ((ramps + rng.integers(0, 128, ramps.shape)) // 2).clip(0, 255).astype(np.uint8)


def theirs(opened: Checkpoint, pictures: list[np.ndarray]) -> np.ndarray:
    """Normalised tiles [t, 3, H, W] of the first of the pictures of one prompt."""
    processor = opened.image_processor()
    more: dict[str, Any] = {}
    if hasattr(processor, "crop_to_patches"):
        more["crop_to_patches"] = True  # what the family's processor asks for
    if hasattr(processor, "image_grid_pinpoints"):
        # Those of at most ten tiles: the model shrinks what larger ones give behind its projector.
        pairs = [p for p in processor.image_grid_pinpoints if p[0] * p[1] <= 10 * 56 * 56]
        more["image_grid_pinpoints"] = pairs
    whole = [Image.fromarray(one) for one in pictures]  # arrays with three rows would be ambiguous
    made = processor([whole], **more, return_tensors=None)
    if "num_patches" in made:
        return np.stack(made["pixel_values"][: made["num_patches"][0]])
    first = np.asarray(made["pixel_values"][0])
    return first if first.ndim == 4 else first[None]


def ours(opened: Checkpoint, view: np.ndarray, images: int) -> Any:
    adapter = base.adapter(opened)
    spec = adapter.preprocess()
    layout = adapter.geometry().layout((view.shape[0], view.shape[1]), images)
    tiles = preprocess.tiles(view, layout, spec, images)
    assert tiles.shape == (layout.grid[0], *layout.pixels, 3)
    assert tiles.dtype == np.uint8
    levels = (tiles * np.float64(spec.scale) - spec.mean) / spec.std
    return levels.transpose(0, 3, 1, 2).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_tiles_are_the_processors(opened: Checkpoint, size: tuple[int, int]) -> None:
    view = picture(*size)
    expected = theirs(opened, [view])
    found = ours(opened, view, images=1)
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("size", [(90, 140), (140, 91), (56, 56)])
def test_tiles_of_several_pictures_are_the_processors(
    opened: Checkpoint, size: tuple[int, int]
) -> None:
    views = [picture(*size), picture(80, 60)]
    found = ours(opened, views[0], images=2)
    expected = theirs(opened, views)
    if opened.architectures[0].startswith(("SmolVLM", "Idefics3")):
        expected = expected[: len(found)]  # a prompt's tiles lie in one row there
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_picture_above_ten_tiles_gets_the_best_tiling_of_ten(tmp_path: Path) -> None:
    opened = Checkpoint(checkpoints.make("llava-onevision", tmp_path))
    layout = base.adapter(opened).geometry().layout((1200, 1600))
    assert layout.grid[0] - 1 <= 10
