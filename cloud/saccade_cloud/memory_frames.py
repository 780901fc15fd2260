"""A frame store that forgets: the last frames of each camera, lost when the cloud ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from saccade.errors import LimitExceeded
from saccade_cloud.frame_store import CameraState, StoredFrame

Identity = tuple[str, int, int]


@dataclass(slots=True)
class _Camera:
    sessions: int = 0
    count: int = 0
    bytes: int = 0
    damaged_layers: int = 0
    frames: dict[Identity, StoredFrame] = field(default_factory=dict)  # as they came


@dataclass(slots=True)
class _Device:
    held_bytes: int = 0
    frames: dict[Identity, StoredFrame] = field(default_factory=dict)  # as they came


class MemoryFrames:
    """A ``FrameStore`` of at most ``max_cameras`` cameras, in at most ``max_bytes`` of memory, of
    which one device may hold ``device_bytes``.

    The frame that came first makes room, because questions follow what came last, also where that
    is a backlog or a recording; the newest by capture stays for as long as the device has any
    other. The frame that came last is kept, whatever its size. Beyond ``max_bytes`` the device that
    holds most makes room. A new camera beyond ``max_cameras`` takes the place of the one that
    disconnected longest ago, and one of a device that has ``of_one_device`` the place of its own.
    """

    def __init__(
        self,
        max_cameras: int = 256,
        max_bytes: int = 256 << 20,
        device_bytes: int = 32 << 20,
        of_one_device: int = 64,
    ) -> None:
        self._max_cameras = max_cameras
        self._max_bytes = max_bytes
        self._device_bytes = device_bytes
        self._of_one_device = of_one_device
        # Ordered: a camera that disconnects moves to the end.
        self._cameras: dict[tuple[str, str], _Camera] = {}
        self._devices: dict[str, _Device] = {}
        self.held_bytes = 0  # of all frames, about

    def connect(self, device: str, cameras: Sequence[str]) -> None:
        """See ``FrameStore.connect``."""
        newcomers = sum((device, name) not in self._cameras for name in cameras)
        self._forget_own(device, cameras, newcomers)
        self._make_room(newcomers)
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
        device = self._devices.setdefault(frame.device, _Device())
        if frame.identity in device.frames:
            return False
        camera = self._cameras[frame.device, frame.tokens.camera]
        camera.count += 1
        camera.bytes += frame.packet_bytes
        camera.damaged_layers += len(frame.tokens.damaged)
        camera.frames[frame.identity] = device.frames[frame.identity] = frame
        device.held_bytes += frame.held_bytes
        self.held_bytes += frame.held_bytes
        while device.held_bytes > self._device_bytes and len(device.frames) > 1:
            self._drop(self._least_needed(device, frame))
        while self.held_bytes > self._max_bytes and self.held_bytes > frame.held_bytes:
            others = [one for one in self._devices.values() if list(one.frames) != [frame.identity]]
            most = max(others, key=lambda one: one.held_bytes)
            self._drop(self._least_needed(most, frame))
        return True

    def get(self, device: str, boot: int, sequence: int) -> StoredFrame | None:
        """See ``FrameStore.get``."""
        known = self._devices.get(device)
        return known.frames.get((device, boot, sequence)) if known else None

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
            self._forget(key)

    def _forget_own(self, device: str, cameras: Sequence[str], newcomers: int) -> None:
        """What a device that brings ever new names pushes out is its own."""
        own = [key for key in self._cameras if key[0] == device]
        idle = [key for key in own if not self._cameras[key].sessions and key[1] not in cameras]
        for key in idle[: max(len(own) + newcomers - self._of_one_device, 0)]:
            self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        for frame in list(self._cameras[key].frames.values()):
            self._drop(frame)
        del self._cameras[key]

    def _least_needed(self, device: _Device, came: StoredFrame) -> StoredFrame:
        """What came first, if possible no camera's newest, and not ``came``, which came last."""
        others = [kept for kept in device.frames.values() if kept is not came]
        for kept in others:
            camera = self._cameras[kept.device, kept.tokens.camera]
            if _newest(camera) is not kept:
                return kept
        return others[0]

    def _drop(self, frame: StoredFrame) -> None:
        device = self._devices[frame.device]
        del device.frames[frame.identity]
        del self._cameras[frame.device, frame.tokens.camera].frames[frame.identity]
        device.held_bytes -= frame.held_bytes
        self.held_bytes -= frame.held_bytes
        if not device.frames:
            del self._devices[frame.device]


def _newest(camera: _Camera) -> StoredFrame | None:
    """By capture; of two captured at once the one that came later."""
    return max(reversed(camera.frames.values()), key=_rank, default=None)


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
