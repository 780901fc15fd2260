"""One pipeline for every geometry: what the edge sends, the cloud reads, with the same layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from saccade.bundle import Bundle
from saccade.client.installed_halves import EncodeOptions
from saccade.errors import ConfigError
from saccade.limits import Limits
from saccade.manifest import RegionSpec
from saccade.packet import unpack
from saccade.spec import (
    AnyGrid,
    DynamicGrid,
    EncoderBucket,
    EncoderOutputs,
    EncoderSpec,
    FixedGrid,
    Preprocess,
    TiledGrid,
    TokenPart,
    TokenSpec,
    view_layout,
    window_px,
)
from saccade.types import Frame, FrameTokens, Region
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_edge.views import Cutter
from saccade_testing.edge_bundle import LABELS, write_edge_bundle
from saccade_testing.tiny_graphs import Graph

PATCH = 4
DIM = 3
ALL = 1 << 20
FREE = RegionSpec(4, crop_margin=0.1, crop_min_px=8, aspect="free")
ONEVISION = TiledGrid(
    (16, 16), (4, 4), "best-resolution", ((1, 1), (1, 2), (2, 1), (2, 2)), "first", alone=True
)
GEOMETRIES: dict[str, AnyGrid] = {
    "fixed": FixedGrid((16, 16), (4, 4)),
    "best-resolution": ONEVISION,
    "closest-ratio": TiledGrid(
        (16, 16), (4, 4), "closest-ratio", ((1, 1), (1, 2), (2, 1), (1, 3)), "last"
    ),
    "longest-edge": TiledGrid((16, 16), (4, 4), "longest-edge", (), "last", longest_edge=48),
    "dynamic": DynamicGrid(((16, 32), (32, 16), (24, 24)), PATCH, 256, 1024),
}


def write_encoder(path: Path, size: tuple[int, int]) -> None:
    """A token for each patch: the mean of each of its colours."""
    g = Graph()
    g.nodes.append(cast("views", "pixels"))
    rows, columns = size[0] // PATCH, size[1] // PATCH
    split = g.constant(np.array([0, rows, PATCH, columns, PATCH, 3], np.int64))
    means = g.add("ReduceMean", g.add("Reshape", "pixels", split), axes=[2, 4], keepdims=0)
    flat = g.constant(np.array([0, rows * columns, DIM], np.int64))
    g.add("Reshape", means, flat, to="features")
    g.save(
        path,
        {"views": (TensorProto.UINT8, ["B", *size, 3])},
        {"features": ["B", rows * columns, DIM]},
    )


def cast(value: str, to: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - onnx has no types
    from onnx import helper

    return helper.make_node("Cast", [value], [to], to=TensorProto.FLOAT)


def written(
    folder: Path, geometry: AnyGrid, regions: RegionSpec | None = FREE, intro: str = ""
) -> Bundle:
    """An edge's bundle with the detector of red things."""
    names = {size: f"edge/encoder-{size[0]}x{size[1]}.onnx" for size in geometry.inputs}
    for size, name in names.items():
        write_encoder(folder / name, size)
    spec = EncoderSpec(
        buckets=tuple(EncoderBucket(name, size) for size, name in names.items()),
        geometry=geometry,
        preprocess=Preprocess("bilinear", fit_several="pad", pad_color=(9, 9, 9)),
        tokens=TokenSpec((TokenPart("main", DIM),)),
        outputs=EncoderOutputs(),
    )
    return write_edge_bundle(
        folder, encoder=spec, regions=regions, files=list(names.values()), intro=intro,
        selection={"method": "uniform", "tokens_per_view": 4},
    )  # fmt: skip


def picture(height: int, width: int) -> Frame:
    """Grey noise with a red rectangle."""
    pixels = np.random.default_rng(3).integers(90, 120, (height, width, 1), np.uint8)
    pixels = np.repeat(pixels, 3, axis=2)
    pixels[height // 4 : height // 2, width // 8 : width // 2] = (250, 10, 10)
    return Frame(pixels, 1_700_000_000_000_000_000, "gate", 7)


def processed(
    bundle: Bundle,
    frame: Frame,
    *,
    overview: bool = True,
    images: int | None = None,
    **encode: Any,
) -> FrameResult:
    settings = PipelineSettings(
        EncodeOptions(codec="f16", **encode),
        overview=overview,
        images=images,
        runtime=RuntimeSettings(threads=1),
    )
    return Pipeline(bundle, settings).process(frame)


def received(bundle: Bundle, result: FrameResult) -> FrameTokens:
    assert result.packet is not None
    limits = Limits.of(bundle.manifest)
    return unpack(result.packet, limits=limits, cameras=["gate"], epoch_unix_ms=0)


@pytest.mark.parametrize("size", [(64, 64), (40, 90), (120, 33)], ids=str)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_cloud_reads_what_the_edge_saw(
    tmp_path: Path, name: str, size: tuple[int, int]
) -> None:
    bundle = written(tmp_path, GEOMETRIES[name])
    result = processed(bundle, picture(*size))
    assert result.encoded is not None
    there = received(bundle, result)
    assert len(there.views) == 2
    for view, mine, theirs in zip(
        result.encoded.views, result.encoded.tokens.views, there.views, strict=True
    ):
        layout = view_layout(bundle.manifest.encoder.geometry, seen(size, theirs.window), 2)
        assert layout == view.layout
        assert mine.tokens.grid == theirs.tokens.grid == layout.grid
        assert view.tiles.shape == (layout.grid[0], *layout.pixels, 3)
        assert mine.tokens.ids.tolist() == theirs.tokens.ids.tolist()
        assert np.allclose(mine.tokens.features, theirs.tokens.features, atol=0.2)


def seen(size: tuple[int, int], window: tuple[float, float, float, float]) -> tuple[int, int]:
    _, _, height, width = window_px(size, window)
    return height, width


@pytest.mark.parametrize("name", GEOMETRIES)
def test_without_regions_the_whole_picture_is_all(tmp_path: Path, name: str) -> None:
    """And with all its tokens: no padding is among them."""
    bundle = written(tmp_path, GEOMETRIES[name], regions=None)
    result = processed(bundle, picture(40, 90), tokens_per_view=bundle.manifest.most_tokens)
    assert result.encoded is not None
    (view,) = result.encoded.views
    (there,) = received(bundle, result).views
    assert there.tokens.ids.tolist() == view.layout.visible().tolist()
    assert result.encoded.regions == ()


def test_padding_is_never_sent(tmp_path: Path) -> None:
    """A strip that fills a quarter of its two tiles: the rest of the canvas is padding."""
    bundle = written(tmp_path, ONEVISION, regions=None)
    result = processed(bundle, picture(16, 128), tokens_per_view=bundle.manifest.most_tokens)
    assert result.encoded is not None
    (view,) = result.encoded.views
    assert view.layout.padded
    (tokens,) = (view.tokens for view in result.encoded.tokens.views)
    assert len(tokens.ids) == len(view.layout.visible()) < np.prod(view.layout.grid)
    few = processed(bundle, picture(16, 128), tokens_per_view=6)
    assert few.encoded is not None
    chosen = few.encoded.tokens.views[0].tokens.ids
    assert len(chosen) == 6
    assert set(chosen.tolist()) <= set(view.layout.visible().tolist())


def test_a_picture_is_cut_into_tiles_only_where_it_stands_alone(tmp_path: Path) -> None:
    bundle = written(tmp_path, ONEVISION, regions=None)
    alone = processed(bundle, picture(40, 90))
    among = processed(bundle, picture(40, 90), images=3)
    assert alone.encoded is not None
    assert among.encoded is not None
    assert len(alone.encoded.views[0].tiles) == 3
    assert len(among.encoded.views[0].tiles) == 1
    assert among.packet is not None
    assert among.packet.images == 3
    assert received(bundle, among).views[0].tokens.grid == (1, 4, 4)
    # The single tile is padded to a square, in the colour for several images.
    assert (among.encoded.views[0].tiles[0, 0] == 9).all()


def test_crops_can_go_without_the_overview(tmp_path: Path) -> None:
    bundle = written(tmp_path, GEOMETRIES["dynamic"])
    result = processed(bundle, picture(64, 64), overview=False)
    there = received(bundle, result)
    assert [(view.slot, view.kind) for view in there.views] == [(1, "crop")]
    with pytest.raises(ConfigError, match="no overview and no crops"):
        processed(bundle, picture(64, 64), overview=False, max_crops=0)


def test_labels_travel_where_the_prompt_names_them(tmp_path: Path) -> None:
    named = written(tmp_path / "named", GEOMETRIES["fixed"], intro="Region {number}, {label}:")
    plain = written(tmp_path / "plain", GEOMETRIES["fixed"])
    for bundle, label in ((named, "car"), (plain, "")):
        there = received(bundle, processed(bundle, picture(64, 64)))
        assert [view.label for view in there.views] == ["", label]
    assert "car" in LABELS


def test_a_method_that_needs_what_the_encoder_lacks_is_refused(tmp_path: Path) -> None:
    bundle = written(tmp_path, GEOMETRIES["fixed"])
    with pytest.raises(ConfigError, match="cls_topk needs saliency: the encoder gives none"):
        processed(bundle, picture(64, 64), method="cls_topk")


def test_a_free_window_is_whole_pixels_of_what_the_wire_says(tmp_path: Path) -> None:
    bundle = written(tmp_path, GEOMETRIES["dynamic"])
    frame = picture(77, 131)
    cutter = Cutter.of(bundle.manifest)
    (_, crop) = cutter.views(frame, [Region((10.3, 20.7, 60.2, 41.9), "car", 0.9)])
    x0, y0, x1, y1 = crop.window
    assert all(side == round(side) for side in crop.window)
    assert x0 <= 10.3
    assert y0 <= 20.7
    assert x1 >= 60.2
    assert y1 >= 41.9
    assert replace(crop, window=crop.window) == crop
