"""Frames as questions need them: decoded when they come, projected when asked about, once each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from saccade.types import FrameTokens
from saccade_cloud.frame_store import StoredFrame
from saccade_cloud.shared_cache import SharedCache
from saccade_cloud.visual_frame import VisualFrame

_ENTRY_BYTES = 4096  # the objects around the arrays: measured with CPython 3.11


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """``tokens``: not projected yet."""

    tokens: FrameTokens

    @property
    def nbytes(self) -> int:
        features = sum(view.tokens.features.nbytes for view in self.tokens.views)
        return _ENTRY_BYTES * (1 + len(self.tokens.views)) + features


@dataclass(frozen=True, slots=True)
class ProjectedFrame:
    """``visual``: what prompts are built from; ``crops``: the label of each crop by its number."""

    visual: VisualFrame
    crops: Mapping[int, str]

    @property
    def nbytes(self) -> int:
        return _ENTRY_BYTES + self.visual.nbytes


class FrameCache:
    """``max_bytes`` in all, ``device_bytes`` for each device. Used from one event loop.

    A frame that is not here is decoded anew from its packet.
    """

    def __init__(self, max_bytes: int, device_bytes: int) -> None:
        self._frames: SharedCache[DecodedFrame | ProjectedFrame] = SharedCache(
            max_bytes, device_bytes
        )

    @property
    def bytes(self) -> int:
        return self._frames.bytes

    def get(self, frame: StoredFrame) -> DecodedFrame | ProjectedFrame | None:
        return self._frames.get(frame.device, _key(frame))

    def put(self, frame: StoredFrame, seen: DecodedFrame | ProjectedFrame) -> None:
        """In the place of what is known of this frame."""
        self._frames.put(frame.device, _key(frame), seen, seen.nbytes)


def _key(frame: StoredFrame) -> tuple[bytes, int, int, bytes]:
    """Of a frame of its device: another bundle would make something else of it, and a device may
    send two packets under one number.
    """
    coded = frame.tokens
    content = hashlib.blake2b(coded.packet, digest_size=16).digest()
    return coded.hello.token_digest, frame.boot, coded.sequence, content
