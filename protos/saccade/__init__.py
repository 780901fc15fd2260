"""Edge-cloud split inference for vision-language models: what both ends share, and the SDK.

``with saccade.connect("127.0.0.1:7860") as vision: vision.ask("picture.png", "is it raining ?")``
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saccade.client import (
        AsyncVision,
        Camera,
        EncodeOptions,
        Vision,
        WatchedAnswer,
        connect,
        connect_async,
        local,
        local_async,
    )
    from saccade.errors import SaccadeError
    from saccade.turns import FrameReference, Generation, Question, Turn
    from saccade.types import Answer, Timing

__all__ = [
    "Answer",
    "AsyncVision",
    "Camera",
    "EncodeOptions",
    "FrameReference",
    "Generation",
    "Question",
    "SaccadeError",
    "Timing",
    "Turn",
    "Vision",
    "WatchedAnswer",
    "connect",
    "connect_async",
    "local",
    "local_async",
]

_ELSEWHERE = {
    "Answer": "saccade.types",
    "FrameReference": "saccade.turns",
    "Generation": "saccade.turns",
    "Question": "saccade.turns",
    "Timing": "saccade.types",
    "Turn": "saccade.turns",
    "SaccadeError": "saccade.errors",
}


def __getattr__(name: str) -> object:
    """The names above, imported when first used: the command line's help needs no gRPC."""
    if name not in __all__:
        raise AttributeError(f"module 'saccade' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_ELSEWHERE.get(name, "saccade.client")), name)
    globals()[name] = value
    return value
