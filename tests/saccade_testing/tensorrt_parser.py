"""TensorRT's own ONNX parser and builder, from PyPI's ``tensorrt-rtx``: they need no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorrt_rtx

trt: Any = tensorrt_rtx
MOST_VIEWS = 4


def build(path: Path) -> int:
    """Parse a graph and build an engine for 1 to 4 views; its bytes.

    Raises ``AssertionError`` with the parser's errors.
    """
    log = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parsed = parser.parse_from_file(str(path))
    problems = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    if not parsed or problems:
        raise AssertionError(f"{path.name}: {problems}")
    profile, config = builder.create_optimization_profile(), builder.create_builder_config()
    views = network.get_input(0)
    shapes = [(count, *tuple(views.shape)[1:]) for count in (1, 1, MOST_VIEWS)]
    profile.set_shape(views.name, *shapes)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise AssertionError(f"{path.name}: TensorRT can't build it")
    return len(memoryview(engine))
