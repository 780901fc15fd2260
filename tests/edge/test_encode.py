from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.errors import BundleError, ConfigError
from saccade.spec import AnyGrid, EncoderOutputs, FixedGrid, TokenPart, TokenSpec
from saccade.types import View
from saccade_edge.encode import Encoder
from saccade_edge.onnx_model import RuntimeSettings
from saccade_testing.edge_bundle import write_edge_bundle
from saccade_testing.encoder_specs import encoder_spec

ONE_THREAD = RuntimeSettings(threads=1)


def view(seed: int, geometry: AnyGrid = encoder_spec().geometry) -> View:  # noqa: B008
    picture = np.random.default_rng(seed).integers(0, 256, (96, 160, 3), np.uint8)
    return View("crop", (0, 0, 160, 96), picture[None], geometry.layout((96, 160)))


def test_a_batch_gives_each_view_the_grid_that_it_gets_alone(bundle: Bundle) -> None:
    encoder = Encoder(bundle, ONE_THREAD)
    views = [view(seed) for seed in range(5)]
    for one, grid in zip(views, encoder.encode(views), strict=True):
        (alone,) = encoder.encode([one])
        assert grid.grid == (1, 8, 8)
        assert grid.features.shape == (64, 32)
        assert grid.saliency.shape == (2, 4, 64)
        assert grid.features.dtype == grid.saliency.dtype == grid.keys.dtype == np.float32
        assert np.allclose(grid.features, alone.features, atol=1e-5)
    assert encoder.encode([]) == []


def test_it_says_what_really_runs_it(bundle: Bundle) -> None:
    encoder = Encoder(bundle, RuntimeSettings(("CPUExecutionProvider",), 1))
    assert encoder.providers == ("CPUExecutionProvider",)


def test_a_provider_that_is_not_installed_is_an_error(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="providers FridgeProvider are not installed"):
        Encoder(bundle, RuntimeSettings(("FridgeProvider",)))


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"tokens": TokenSpec((TokenPart("main", 48),))}, "the manifest says 64 tokens of 48"),
        ({"geometry": FixedGrid((96, 160), (4, 8))}, "the manifest says 32 tokens of 32"),
        ({"input": "pixels"}, "the manifest says 'pixels'"),
        ({"outputs": EncoderOutputs(saliency="saliency", keys="k")}, "no output k"),
    ],
)
def test_a_model_that_is_not_as_the_manifest_says_is_refused(
    tmp_path: Path, lie: dict[str, Any], says: str
) -> None:
    lying = write_edge_bundle(tmp_path, detector=False, encoder=replace(encoder_spec(), **lie))
    with pytest.raises(BundleError, match=says):
        Encoder(lying, ONE_THREAD).encode([view(0, lying.manifest.encoder.geometry)])


def test_a_file_that_is_no_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    spec = encoder_spec("cloud/embed.onnx")
    broken = write_edge_bundle(tmp_path, detector=False, encoder=spec)
    with pytest.raises(BundleError, match=r"embed\.onnx is no model that runs here"):
        Encoder(broken, ONE_THREAD)
