"""A graph of the language side: opened and checked once, run from several threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError, EngineError
from saccade.types import F32
from saccade_onnx.sessions import open_session, run_session, session_options, short_name


class Graph:
    """One ONNX graph with named inputs and outputs; safe to run from several threads. ``inputs``:
    all that it has, with their dimensions, where a text or None stands for one of any size.

    Raises ``BundleError`` when the file cannot be loaded, is another than the bundle lists, or
    lacks an input or output that the bundle's contract names, ``EngineError`` when a run fails.
    """

    def __init__(
        self, file: ModelFile, inputs: Sequence[str], outputs: Sequence[str], threads: int = 1
    ) -> None:
        options = session_options(threads)
        options.inter_op_num_threads = 1
        # An arena keeps for good what the largest batch took; malloc is as fast and gives it back.
        options.enable_cpu_mem_arena = False
        self._name = short_name(file)
        session = open_session(file, options, ["CPUExecutionProvider"])
        _require(self._name, "input", inputs, [i.name for i in session.get_inputs()])
        _require(self._name, "output", outputs, [o.name for o in session.get_outputs()])
        self.inputs = {i.name: tuple(i.shape) for i in session.get_inputs()}
        self._outputs = list(outputs)
        self._session = session

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> list[F32]:
        """The outputs, in the order in which the constructor named them."""
        return run_session(self._session, self._name, self._outputs, feeds, EngineError)


def _require(name: str, what: str, wanted: Sequence[str], present: Sequence[str]) -> None:
    missing = [want for want in wanted if want not in present]
    if missing:
        raise BundleError(f"{name} has no {what} {missing[0]!r}, only {', '.join(present)}")
