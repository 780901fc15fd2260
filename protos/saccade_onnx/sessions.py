"""ONNX Runtime sessions: opened from a bundle's file, and their errors turned into ours.

The edge and the cloud run models for different ends, and each keeps its own wrapper. What they
share is here: what is switched off before the runtime is loaded, and which of its exceptions mean
a model that cannot run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from saccade import telemetry  # noqa: F401 - off before ONNX Runtime is loaded

# isort: split
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_state,  # pyright: ignore[reportAttributeAccessIssue]
)

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError, SaccadeError
from saccade.types import F32

ort.disable_telemetry_events()  # where a program has loaded it before us

# ONNX Runtime's exceptions have no base class of their own.
ERRORS = (
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)


def session_options(threads: int) -> ort.SessionOptions:
    """Of every session. ``threads``: 0 lets ONNX Runtime take every core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors: those are raised anyway
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def open_session(
    file: ModelFile, options: ort.SessionOptions, providers: Sequence[str]
) -> ort.InferenceSession:
    """Raises ``BundleError`` for a file that is no model that runs here, or another one than the
    bundle lists.
    """
    try:
        with file.opened() as model:
            return ort.InferenceSession(model, sess_options=options, providers=list(providers))
    except ERRORS as error:
        raise BundleError(f"{short_name(file)} is no model that runs here: {error}") from error


def run_session(
    session: ort.InferenceSession,
    name: str,
    outputs: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    failure: type[SaccadeError],
) -> list[F32]:
    """The named outputs. Raises ``failure`` when the model ``name`` fails, or gives no numbers."""
    try:
        arrays = session.run(list(outputs), dict(feeds))
    except ERRORS as error:
        raise failure(f"{name} failed: {error}") from error
    try:
        return [np.asarray(array, np.float32) for array in arrays]
    except (TypeError, ValueError) as error:
        raise failure(f"{name} gives what is no tensor of numbers") from error


def installed_providers() -> Sequence[str]:
    """What ONNX Runtime can run models on here, best first."""
    return tuple(ort.get_available_providers())


def short_name(file: ModelFile) -> str:
    """Without the bundle's folders."""
    return PurePosixPath(file.name).name
