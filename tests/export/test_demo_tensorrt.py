"""The demo bundles' encoders run on TensorRT as they are shipped."""

from __future__ import annotations

import onnx
import pytest

from saccade.bundle import Bundle
from saccade_testing import tensorrt_parser


@pytest.mark.parametrize("name", ["crossing", "crossing-registers"])
def test_a_shipped_encoder_casts_its_levels_first_and_tensorrt_builds_it(name: str) -> None:
    bundle = Bundle.open(name)
    (file,) = bundle.manifest.encoder.files.values()
    path = bundle.folder / file
    graph = onnx.load(str(path)).graph
    # Casts of stored half weights stand before it; the levels themselves go into no other node.
    readers = [node.op_type for node in graph.node if "views" in node.input]
    assert readers == ["Cast"]
    assert tensorrt_parser.build(path) > 0
