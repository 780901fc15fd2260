"""The cloud's graphs are opened as the edge's: what was checked, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from saccade.bundle import Bundle, read_fields, write_manifest
from saccade.bundle_files import ListedFile, ModelFile, measure, unlisted_model
from saccade.errors import BundleError, DigestMismatch
from saccade_cloud.assemble import open_engine
from saccade_cloud.onnx_graph import Graph
from saccade_testing.external_models import ELSEWHERE, VALUES, model, save, tensor
from saccade_testing.tiny_bundle import write_bundle


def test_a_graph_with_listed_external_data_runs(tmp_path: Path) -> None:
    save(tmp_path, model(tensor()), "cloud/sum.onnx")
    (tmp_path / "cloud" / ELSEWHERE).write_bytes(VALUES.tobytes())
    files = {name: measure(tmp_path, name) for name in ("cloud/sum.onnx", f"cloud/{ELSEWHERE}")}
    listed = ListedFile(tmp_path, "cloud/sum.onnx", files["cloud/sum.onnx"])
    graph = Graph(ModelFile(listed, files), ["x"], ["y"])
    (y,) = graph.run({"x": np.zeros(4, np.float32)})
    assert list(y) == list(VALUES)


def test_a_graph_with_weights_that_nobody_listed_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, model(tensor()), "sum.onnx")
    (tmp_path / ELSEWHERE).write_bytes(VALUES.tobytes())
    with pytest.raises(BundleError, match="opens 'weights.bin', which the manifest does not list"):
        Graph(unlisted_model(path), ["x"], ["y"])


def test_a_decoder_that_opens_more_is_neither_verified_nor_opened(tmp_path: Path) -> None:
    write_bundle(tmp_path)
    save(tmp_path, model(tensor()), "cloud/decoder.onnx")
    (tmp_path / "cloud" / ELSEWHERE).write_bytes(VALUES.tobytes())
    fields = read_fields(tmp_path)
    write_manifest(tmp_path, {k: v for k, v in fields.items() if k not in ("digest", "format")})
    bundle = Bundle.open(tmp_path)
    for attempt in (bundle.verify, lambda: open_engine(bundle)):
        with pytest.raises(BundleError, match="decoder.onnx opens 'cloud/weights.bin'"):
            attempt()


def test_a_graph_that_was_changed_after_the_bundle_was_opened_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path)
    bundle.verify()
    save(tmp_path, model(), "cloud/decoder.onnx")
    with pytest.raises(DigestMismatch, match="cloud/decoder.onnx has"):
        open_engine(bundle)
