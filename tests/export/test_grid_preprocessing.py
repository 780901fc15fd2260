"""Views of Qwen-VL, Gemma 3 and PaliGemma are, pixel for pixel, their own processors'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from saccade.spec.geometry import DynamicGrid
from saccade_edge import preprocess
from saccade_export.checkpoint import Checkpoint
from saccade_export.families import base
from saccade_testing import gemma_checkpoints, grid_checkpoints
from saccade_testing.checkpoints import make

GRIDS, SQUARES = tuple(grid_checkpoints.FAMILIES), tuple(gemma_checkpoints.FAMILIES)
# Tiny, square, wide, high, far larger and smaller than any view, extreme aspects.
SIZES = (
    (1, 1), (3, 5), (56, 56), (57, 56), (90, 140), (140, 90), (37, 300), (300, 37), (1200, 1600),
    (1999, 1001), (10, 900), (900, 5), (28, 28), (111, 167),
)  # fmt: skip
Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(scope="module", params=GRIDS)
def grids(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(make(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.fixture(scope="module", params=SQUARES)
def squares(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(make(request.param, tmp_path_factory.mktemp(request.param)))


def picture(height: int, width: int) -> Array:
    """Ramps with noise: filters and shifts by a pixel show."""
    rng = np.random.default_rng(height * 10_000 + width)
    y, x = np.mgrid[:height, :width]
    ramps = np.stack([y * 255 // height, x * 255 // width, (x + y) % 256], axis=-1)
    return ((ramps + rng.integers(0, 128, ramps.shape)) // 2).clip(0, 255).astype(np.uint8)


def normalised(tiles: Array, adapter: Any) -> Array:
    """uint8 [t, H, W, 3] -> [t, 3, H, W], as the encoder's first nodes make them."""
    spec = adapter.preprocess()
    levels = (tiles * np.float64(spec.scale) - spec.mean) / spec.std
    pixels: Array = levels.transpose(0, 3, 1, 2).astype(np.float32)
    return pixels


def unpatched(made: Any, patch: int, merge: int) -> Array:
    """[3, H, W] of a still picture's patches, of which both frames are the same."""
    _, rows, columns = (int(side) for side in made["image_grid_thw"][0])
    shape = (rows // merge, columns // merge, merge, merge, 3, 2, patch, patch)
    patches = np.asarray(made["pixel_values"]).reshape(shape)
    assert np.array_equal(patches[:, :, :, :, :, 0], patches[:, :, :, :, :, 1])
    still = patches[:, :, :, :, :, 0].transpose(4, 0, 2, 5, 1, 3, 6)
    whole: Array = still.reshape(3, rows * patch, columns * patch)
    return whole


@pytest.mark.parametrize("size", SIZES)
def test_views_of_any_size_are_the_processor_s(grids: Checkpoint, size: tuple[int, int]) -> None:
    adapter: Any = base.adapter(grids)
    own, images, view = adapter.geometry(), grids.image_processor(), picture(*size)
    # A list that holds the size that the processor chooses: then nothing may differ.
    wanted = smart_resize(*size, own.unit, own.min_pixels, own.max_pixels)
    geometry = DynamicGrid((wanted, *own.sizes), own.unit, own.min_pixels, own.max_pixels)
    layout = geometry.layout(size)
    assert layout.pixels == wanted
    ours = normalised(preprocess.tiles(view, layout, adapter.preprocess()), adapter)
    made = images([Image.fromarray(view)])
    theirs = unpatched(made, images.patch_size, images.merge_size)
    np.testing.assert_allclose(ours[0], theirs, atol=2e-6)


@pytest.mark.parametrize("size", SIZES)
def test_views_at_one_size_are_the_processor_s(squares: Checkpoint, size: tuple[int, int]) -> None:
    adapter: Any = base.adapter(squares)
    view = picture(*size)
    layout = adapter.geometry().layout(size)
    ours = normalised(preprocess.tiles(view, layout, adapter.preprocess()), adapter)
    made = squares.image_processor()([Image.fromarray(view)])
    np.testing.assert_allclose(ours[0], np.asarray(made["pixel_values"][0]), atol=2e-6)
