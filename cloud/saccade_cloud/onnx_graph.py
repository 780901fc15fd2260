"""ONNX Runtime sessions: opened one way, and their errors turned into ours."""

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
from saccade.errors import BundleError, EngineError
from saccade.types import F32

ort.disable_telemetry_events()  # where a program has loaded it before us

# ONNX Runtime's exceptions share no base class below Exception, so they are listed here once.
_LOAD_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.InvalidArgument,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)
_RUN_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.RuntimeException,
    ort_state.NotImplemented,
)


class Graph:
    """One ONNX graph with named inputs and outputs; safe to run from several threads. ``inputs``:
    all that it has, with their dimensions, where a text or None stands for one of any size.

    Raises ``BundleError`` when the file cannot be loaded, is another than the bundle lists, or
    lacks an input or output that the bundle's contract names, ``EngineError`` when a run fails.
    """

    def __init__(
        self, file: ModelFile, inputs: Sequence[str], outputs: Sequence[str], threads: int = 1
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # An arena keeps for good what the largest batch took; malloc is as fast and gives it back.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")
        self._name = PurePosixPath(file.name).name
        try:
            with file.opened() as model:
                session = ort.InferenceSession(
                    model, sess_options=options, providers=["CPUExecutionProvider"]
                )
        except _LOAD_ERRORS as err:
            raise BundleError(f"{self._name} is not a graph that can be loaded: {err}") from err
        _require(self._name, "input", inputs, [i.name for i in session.get_inputs()])
        _require(self._name, "output", outputs, [o.name for o in session.get_outputs()])
        self.inputs = {i.name: tuple(i.shape) for i in session.get_inputs()}
        self._outputs = list(outputs)
        self._session = session

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[F32]:
        """The outputs, in the order in which the constructor named them."""
        try:
            outputs = self._session.run(self._outputs, dict(feeds))
        except _RUN_ERRORS as err:
            raise EngineError(f"{self._name} failed: {err}") from err
        return [np.asarray(output, np.float32) for output in outputs]


def _require(name: str, what: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    missing = [want for want in wanted if want not in present]
    if missing:
        raise BundleError(f"{name} has no {what} {missing[0]!r}, only {', '.join(present)}")
