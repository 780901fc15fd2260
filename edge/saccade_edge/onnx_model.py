"""ONNX models on the best device that really works."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from saccade.bundle_files import ModelFile
from saccade.errors import BundleError, ConfigError
from saccade.types import F32
from saccade_onnx.sessions import (
    installed_providers,
    open_session,
    run_session,
    session_options,
    short_name,
)

log = logging.getLogger(__name__)

# Not TensorRT: it builds engines for minutes inside the first run, so it is asked for by name.
PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True, slots=True)
class Port:
    """An input: ``shape`` has names or None where the size is free."""

    name: str
    kind: str  # "tensor(float)", "tensor(uint8)"
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """``providers``: None for the preferred ones that are installed. ``threads``: 0 lets ONNX
    Runtime take every core.
    """

    providers: tuple[str, ...] | None = None
    threads: int = 0


class Model:
    """An ONNX file on the best provider that works.

    Raises ``ConfigError`` for providers that are not installed, ``BundleError`` for a file that
    is no model, or another one than the bundle lists. A provider can fail in silence:
    ``providers`` says which ones the session got.
    """

    def __init__(self, file: ModelFile, settings: RuntimeSettings) -> None:
        options = session_options(settings.threads)
        # Spinning threads burn the small computer's power between frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        wanted = _providers(settings.providers)
        self.name = short_name(file)
        self._session = open_session(file, options, wanted)
        if missing := set(wanted) - set(self.providers):
            log.warning("%s runs without %s", self.name, ", ".join(sorted(missing)))

    @property
    def providers(self) -> tuple[str, ...]:
        """What really runs it, first choice first."""
        return tuple(self._session.get_providers())

    @property
    def inputs(self) -> list[Port]:
        return [Port(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs()]

    @property
    def outputs(self) -> list[str]:
        return [output.name for output in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], feeds: Mapping[str, npt.NDArray[Any]]) -> list[F32]:
        """The named outputs. Raises ``BundleError`` when the model fails, or gives no numbers."""
        return run_session(self._session, self.name, outputs, feeds, BundleError)


def _providers(asked: Sequence[str] | None) -> tuple[str, ...]:
    installed = installed_providers()
    if asked is None:
        return tuple(p for p in PREFERRED if p in installed)
    if unknown := [p for p in asked if p not in installed]:
        raise ConfigError(
            f"providers {', '.join(unknown)} are not installed, these are: {', '.join(installed)}"
        )
    return tuple(asked)
