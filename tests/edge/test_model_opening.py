"""ONNX Runtime opens what was checked, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from saccade.bundle import MANIFEST, Bundle, read_fields, write_manifest
from saccade.bundle_files import ListedFile, ModelFile, measure, unlisted_model
from saccade.client import EncodeOptions
from saccade.errors import BundleError, ConfigError
from saccade.manifest import digest_of, token_digest_of
from saccade_edge.onnx_model import Model, RuntimeSettings
from saccade_edge.pipeline import Pipeline
from saccade_edge.plan import PipelineSettings
from saccade_testing.edge_bundle import write_edge_bundle
from saccade_testing.external_models import ELSEWHERE, PLACES, VALUES, model, save, tensor

ONE_THREAD = RuntimeSettings(threads=1)
NAME = "edge/model.onnx"


def run(file: ModelFile) -> list[float]:
    (y,) = Model(file, ONE_THREAD).run(["y"], {"x": np.zeros(4, np.float32)})
    return [float(value) for value in y]


def test_a_model_with_listed_external_data_runs(tmp_path: Path) -> None:
    save(tmp_path, model(tensor(offset="4", length="16")))
    weights = tmp_path / "edge" / ELSEWHERE
    weights.write_bytes(b"head" + VALUES.tobytes())
    files = {name: measure(tmp_path, name) for name in (NAME, f"edge/{ELSEWHERE}")}
    opened = Model(ModelFile(ListedFile(tmp_path, NAME, files[NAME]), files), ONE_THREAD)
    weights.write_bytes(bytes(20))  # changed while the model is in use
    (y,) = opened.run(["y"], {"x": np.zeros(4, np.float32)})
    assert list(y) == list(VALUES)


def test_weights_that_nobody_listed_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not from beside the model, and not from the working directory."""
    save(tmp_path, model(tensor()), "model.onnx")
    (tmp_path / ELSEWHERE).write_bytes(VALUES.tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="opens 'weights.bin', which the manifest does not list"):
        run(unlisted_model(tmp_path / "model.onnx"))


@pytest.mark.parametrize("place", PLACES)
def test_no_place_of_a_model_opens_an_unlisted_file(tmp_path: Path, place: str) -> None:
    path = save(tmp_path, PLACES[place](), "model.onnx")
    with pytest.raises(BundleError, match="which the manifest does not list"):
        Model(unlisted_model(path), ONE_THREAD)


def test_onnx_runtimes_own_format_is_refused(tmp_path: Path) -> None:
    source = save(tmp_path, model(), "model.onnx")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    with pytest.raises(BundleError, match="ONNX Runtime's own format"):
        Model(unlisted_model(tmp_path / "model.ort"), ONE_THREAD)


def test_an_operator_of_somebodys_library_is_a_bundle_error(tmp_path: Path) -> None:
    made = model()
    made.graph.node[0].domain = "com.example"
    made.opset_import.add(domain="com.example", version=1)
    with pytest.raises(BundleError, match="is no model that runs here"):
        Model(unlisted_model(save(tmp_path, made, "model.onnx")), ONE_THREAD)


def test_a_bundle_whose_encoder_opens_more_is_neither_verified_nor_opened(tmp_path: Path) -> None:
    write_edge_bundle(tmp_path)
    save(tmp_path, model(tensor()), "edge/encoder.onnx")
    (tmp_path / "edge" / ELSEWHERE).write_bytes(VALUES.tobytes())
    with pytest.raises(BundleError, match=r"edge/weights.bin is not in files"):
        rewritten(tmp_path)
    bundle = silent(tmp_path)
    for attempt in (bundle.verify, lambda: Pipeline(bundle)):
        with pytest.raises(BundleError, match="opens 'edge/weights.bin', which the manifest"):
            attempt()


def test_too_many_crops_are_refused_before_a_model_is_opened(tmp_path: Path) -> None:
    bundle = write_edge_bundle(tmp_path)
    (tmp_path / "edge/encoder.onnx").unlink()
    with pytest.raises(ConfigError, match="9 crops: the bundle allows 0 to 4"):
        Pipeline(bundle, PipelineSettings(encode=EncodeOptions(max_crops=9)))


def silent(folder: Path) -> Bundle:
    """The bundle with a manifest that lists the weights, but not as the encoder's: then the token
    digest would not cover them.
    """
    fields = read_fields(folder)
    files = {**fields["files"], f"edge/{ELSEWHERE}": {"license": "Apache-2.0"}}
    write_manifest(folder, {**fields, "files": files})
    fields = read_fields(folder)
    fields["encoder"]["data"] = []
    fields["token_digest"] = token_digest_of(fields).hex()
    fields["digest"] = digest_of(fields).hex()
    (folder / MANIFEST).write_text(json.dumps(fields))
    return Bundle.open(folder)


def rewritten(folder: Path) -> Bundle:
    """The bundle with a manifest of the files as they are now."""
    fields = read_fields(folder)
    write_manifest(folder, {k: v for k, v in fields.items() if k not in ("digest", "format")})
    return Bundle.open(folder)
