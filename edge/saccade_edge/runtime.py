"""ONNX Runtime sessions on the best device that really works."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort
from onnxruntime.capi import (
    onnxruntime_pybind11_state as ort_state,  # pyright: ignore[reportAttributeAccessIssue]
)

from saccade.errors import BundleError, ConfigError

log = logging.getLogger(__name__)

# ONNX Runtime's exceptions share no base class below Exception, so they are listed.
LOAD_ERRORS = (
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
)

# Not TensorRT: it builds engines for minutes inside the first run, so it is asked for by name.
PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """``providers``: None for the preferred ones that are installed. ``threads``: 0 lets ONNX
    Runtime take every core.
    """

    providers: tuple[str, ...] | None = None
    threads: int = 0


def open_session(path: Path, settings: RuntimeSettings) -> ort.InferenceSession:
    """A session for the model at ``path``.

    Raises ``ConfigError`` for providers that are not installed, ``BundleError`` for a file
    that is no model. Providers can fail silently: ask the session which ones it got.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = settings.threads
    # Spinning threads burn the small computer's power between frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = _providers(settings.providers)
    try:
        session = ort.InferenceSession(str(path), options, providers=list(wanted))
    except LOAD_ERRORS as error:
        raise BundleError(f"{path.name} is no model that runs here: {error}") from error
    if missing := set(wanted) - set(session.get_providers()):
        log.warning("%s runs without %s", path.name, ", ".join(sorted(missing)))
    return session


def _providers(asked: Sequence[str] | None) -> tuple[str, ...]:
    installed = ort.get_available_providers()
    if asked is None:
        return tuple(p for p in PREFERRED if p in installed)
    if unknown := [p for p in asked if p not in installed]:
        raise ConfigError(
            f"providers {', '.join(unknown)} are not installed, these are: {', '.join(installed)}"
        )
    return tuple(asked)
