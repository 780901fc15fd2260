"""The SDK: one interface to ask about pictures and cameras, remote or local.

Its names are those of `saccade` itself: ``saccade.connect(...)``, ``saccade.local(bundle)``.
"""

from saccade.client.base import AsyncVision, Picture, Vision
from saccade.client.connecting import connect, connect_async, local, local_async
from saccade.client.fleet_types import Camera, WatchedAnswer
from saccade.client.installed_halves import EncodeOptions
from saccade.client.streams import AnswerStream, AsyncAnswerStream

__all__ = [
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncVision",
    "Camera",
    "EncodeOptions",
    "Picture",
    "Vision",
    "WatchedAnswer",
    "connect",
    "connect_async",
    "local",
    "local_async",
]
