"""A frame store that forgets: a few frames of each camera, lost when the cloud ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from saccade.errors import LimitExceeded
from saccade_cloud.frames import CameraState, StoredFrame


@dataclass(slots=True)
class _Camera:
    sessions: int = 0
    count: int = 0
    bytes: int = 0
    damaged_layers: int = 0
    frames: list[StoredFrame] = field(default_factory=list)  # as they came


class MemoryFrames:
    """A ``FrameStore`` of ``per_camera`` frames for each of at most ``max_cameras`` cameras.

    The frame that came first makes room, because questions follow what came last, also where that
    is a backlog or a recording; the newest by capture always stays. A new camera beyond
    ``max_cameras`` takes the place of the one that disconnected longest ago.
    """

    def __init__(self, per_camera: int = 16, max_cameras: int = 256) -> None:
        self._per_camera = per_camera
        self._max_cameras = max_cameras
        # Ordered: a camera that disconnects moves to the end.
        self._cameras: dict[tuple[str, str], _Camera] = {}
        self._frames: dict[tuple[str, int, int], StoredFrame] = {}

    def connect(self, device: str, cameras: Sequence[str]) -> None:
        """See ``FrameStore.connect``."""
        self._make_room(sum((device, name) not in self._cameras for name in cameras))
        for name in cameras:
            self._cameras.setdefault((device, name), _Camera()).sessions += 1

    def disconnect(self, device: str, cameras: Sequence[str]) -> None:
        """See ``FrameStore.disconnect``."""
        for name in cameras:
            camera = self._cameras.pop((device, name))
            camera.sessions -= 1
            self._cameras[device, name] = camera

    def connected(self, device: str, camera: str) -> bool:
        """See ``FrameStore.connected``."""
        known = self._cameras.get((device, camera))
        return known is not None and known.sessions > 0

    def put(self, frame: StoredFrame) -> bool:
        """See ``FrameStore.put``."""
        if frame.identity in self._frames:
            return False
        camera = self._cameras[frame.device, frame.tokens.camera]
        camera.count += 1
        camera.bytes += frame.packet_bytes
        camera.damaged_layers += len(frame.tokens.damaged)
        self._frames[frame.identity] = frame
        camera.frames.append(frame)
        if len(camera.frames) > self._per_camera:
            first, *later = camera.frames
            # Usually the very next one is newer.
            outlived = any(_rank(kept) >= _rank(first) for kept in later)
            del self._frames[camera.frames.pop(0 if outlived else 1).identity]
        return True

    def get(self, device: str, boot: int, sequence: int) -> StoredFrame | None:
        """See ``FrameStore.get``."""
        return self._frames.get((device, boot, sequence))

    def newest(self, device: str, camera: str) -> StoredFrame | None:
        """See ``FrameStore.newest``."""
        known = self._cameras.get((device, camera))
        return _newest(known) if known else None

    def cameras(self) -> list[CameraState]:
        """See ``FrameStore.cameras``."""
        return [_state(*key, self._cameras[key]) for key in sorted(self._cameras)]

    def _make_room(self, newcomers: int) -> None:
        idle = [key for key, camera in self._cameras.items() if not camera.sessions]
        excess = len(self._cameras) + newcomers - self._max_cameras
        if excess > len(idle):
            busy = len(self._cameras) - len(idle)
            raise LimitExceeded(
                f"{newcomers} more cameras beside {busy} connected ones, "
                f"the limit is {self._max_cameras}"
            )
        for key in idle[: max(excess, 0)]:
            for frame in self._cameras.pop(key).frames:
                del self._frames[frame.identity]


def _newest(camera: _Camera) -> StoredFrame | None:
    """By capture; of two captured at once the one that came later."""
    return max(reversed(camera.frames), key=_rank, default=None)


def _rank(frame: StoredFrame) -> int:
    return frame.seen_ns


def _state(device: str, name: str, camera: _Camera) -> CameraState:
    newest = _newest(camera)
    last = newest.tokens if newest else None
    return CameraState(
        device=device,
        name=name,
        connected=camera.sessions > 0,
        last_sequence=last.sequence if last else 0,
        last_captured_ns=last.captured_ns if last else 0,
        frames=camera.count,
        bytes=camera.bytes,
        damaged_layers=camera.damaged_layers,
    )
