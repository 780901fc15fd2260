"""The edge's and the cloud's half inside this process, where they are installed.

The contract may not import either: each half registers under the entry-point group
``saccade.halves`` and is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

from saccade.bundle import Bundle
from saccade.errors import ConfigError
from saccade.turns import Question
from saccade.types import U8, FrameTokens, Probability, Timing

GROUP = "saccade.halves"


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How pictures are encoded; what is None is as the bundle says. ``point``: an operating point
    of the bundle; ``threads`` 0: every core.
    """

    point: int | None = None
    tokens_per_view: int | None = None
    codec: str | None = None
    method: str | None = None
    detector: str | None = None
    max_crops: int | None = None
    threads: int = 0


class PictureEncoder(Protocol):
    """The edge's half. Not for several threads at once."""

    @property
    def codec(self) -> str:
        """The name of the codec that packets go with."""
        ...

    @property
    def layers(self) -> int | None:
        """The most layers that packets carry, None for all."""
        ...

    def encode(self, image: U8 | str | bytes) -> tuple[FrameTokens, Timing]:
        """The tokens of a uint8 [H, W, 3] array, a file or a file's bytes, and the time of each
        stage.

        Raises ``SourceError`` for what is no usable picture.
        """
        ...


class Piece(Protocol):
    """Some text of an answer; the last one alone has ``finish``, ``timing`` and ``probability``."""

    @property
    def text(self) -> str: ...
    @property
    def finish(self) -> Literal["stop", "length"] | None: ...
    @property
    def timing(self) -> Timing | None: ...
    @property
    def probability(self) -> Probability | None: ...


class TokenAnswerer(Protocol):
    """The cloud's half. Safe from several threads."""

    def stream(self, frames: Mapping[int, FrameTokens], question: Question) -> Iterator[Piece]:
        """The answer as it comes; ``frames``: those that the question speaks of, by sequence."""
        ...

    def close(self) -> None: ...


def open_encoder(bundle: Bundle, options: EncodeOptions) -> PictureEncoder:
    """Raises ``ConfigError`` where the edge's half is not installed, or for wrong options."""
    make: Callable[[Bundle, EncodeOptions], PictureEncoder] = _load("edge", "encoding a picture")
    return make(bundle, options)


def open_answerer(bundle: Bundle) -> TokenAnswerer:
    """Raises ``ConfigError`` where the cloud's half is not installed."""
    make: Callable[[Bundle], TokenAnswerer] = _load("cloud", "answering in this process")
    return make(bundle)


def _load(half: str, purpose: str) -> Any:  # noqa: ANN401 - what an entry point names
    hint = f"pip install 'saccade-vlm[{half}]'"
    entries = list(entry_points(group=GROUP, name=half))
    if not entries:
        raise ConfigError(f"{purpose} needs saccade's {half} half, which is not here: {hint}")
    try:
        return entries[0].load()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{purpose} needs the package {error.name!r}, which is not installed: {hint}"
        ) from error
