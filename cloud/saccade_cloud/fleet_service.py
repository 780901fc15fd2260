"""``saccade.v1.Fleet``: what applications ask of all cameras."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from saccade.answer_probability import mean_and_least
from saccade.errors import QuestionError, StaleFrame
from saccade.packet import MAX_UNIX_MS
from saccade.turns import Question
from saccade.types import utc
from saccade.v1 import fleet_pb2 as pb
from saccade.v1.fleet_pb2_grpc import FleetServicer
from saccade_cloud.access import caller
from saccade_cloud.answer_broadcast import Wanted
from saccade_cloud.answer_service import Asked
from saccade_cloud.call_errors import translated
from saccade_cloud.cloud_context import CloudContext, ServedBundle
from saccade_cloud.engines.base import TokenChunk
from saccade_cloud.frame_store import CameraState, FrameStore, StoredFrame
from saccade_cloud.stages import stage_times
from saccade_cloud.store.store_types import Observation
from saccade_cloud.stored_frames import frame_of

Context = grpc.aio.ServicerContext[Any, Any]
NS_PER_MS = 1_000_000


class Fleet(FleetServicer):
    """Every call is translated at its edge."""

    def __init__(self, cloud: CloudContext) -> None:
        self._cloud = cloud

    async def ListCameras(  # noqa: N802 - the stub's name
        self, request: pb.ListCamerasRequest, context: Context
    ) -> pb.ListCamerasReply:
        frames, now_ns = self._cloud.frames, time.time_ns()
        cameras = [
            _camera(state, frames.newest(state.device, state.name), now_ns)
            for state in frames.cameras()
        ]
        return pb.ListCamerasReply(cameras=cameras, domain=self._cloud.bundles.domain)

    async def Ask(  # noqa: N802 - as above
        self, request: pb.AskRequest, context: Context
    ) -> AsyncIterator[pb.AskReply]:
        async with translated(context):
            camera = find_camera(self._cloud.frames, request.camera)
            frame = newest_frame(self._cloud.frames, camera)
            if request.HasField("max_age_ms"):
                check_age(camera, frame, request.max_age_ms)
            bundle = self._cloud.bundles.of_frame(frame)
            asked = await self._asked(request, frame, bundle)
            async with aclosing(bundle.answers.answer(asked)) as chunks:
                async for chunk in chunks:
                    yield self._reply(chunk, camera, asked.frame, bundle.domain)

    async def _asked(
        self, request: pb.AskRequest, newest: StoredFrame, bundle: ServedBundle
    ) -> Asked:
        question = Question.from_wire(request.turns, request.generation)
        question = question.at_hand(newest.tokens.sequence)
        bundle.answers.check(question)
        frames = {newest.tokens.sequence: newest}
        for number in question.frames:
            if number not in frames:
                frames[number] = await frame_of(self._cloud, newest.device, newest.boot, number)
        return Asked(question, {number: frames[number] for number in question.frames}, caller())

    def _reply(
        self, chunk: TokenChunk, camera: CameraState, frame: StoredFrame, domain: str
    ) -> pb.AskReply:
        reply = pb.AskReply(
            text=chunk.text,
            sequence=frame.tokens.sequence,
            captured_unix_ms=frame.tokens.captured_ns // NS_PER_MS,
            packet_bytes=frame.packet_bytes,
        )
        if chunk.finish is None:
            return reply
        probability, least = mean_and_least(chunk.probability)
        last = pb.AskReply(
            last=True,
            finish=chunk.finish,
            timing=stage_times(chunk.timing),
            domain=domain,
            age_ms=frame.age_ns(time.time_ns()) // NS_PER_MS,
            clock_ahead_ms=frame.clock_ahead_ns // NS_PER_MS,
            connected=self._cloud.frames.connected(camera.device, camera.name),
            probability=probability,
            least_probability=least,
        )
        reply.MergeFrom(last)
        return reply

    async def Watch(  # noqa: N802 - as above
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchReply]:
        async with translated(context):
            wanted: Wanted = _everything
            if request.camera:
                wanted = _of_camera(find_camera(self._cloud.frames, request.camera))
            watch = self._cloud.broadcast.subscribe(wanted)
            async with aclosing(watch) as answers:
                async for posted in answers:
                    yield _watched(posted)

    async def History(  # noqa: N802 - as above
        self, request: pb.HistoryRequest, context: Context
    ) -> AsyncIterator[pb.WatchReply]:
        async with translated(context):
            device, camera = past_camera(self._cloud.frames, request.camera)
            since_ns, until_ns = span_ns(request.since_unix_ms, request.until_unix_ms)
            past = self._cloud.store.history(device, camera, since_ns, until_ns, request.limit)
            async with aclosing(past) as observations:
                async for observation in observations:
                    yield _watched(observation)


def past_camera(frames: FrameStore, name: str) -> tuple[str, str]:
    """(device, camera), also of one that the cloud has not met: the store may have.

    Raises ``QuestionError`` for a bare name that no camera has, or several have.
    """
    device, slash, camera = name.partition("/")
    if slash:
        return device, camera
    state = find_camera(frames, name)
    return state.device, state.name


def span_ns(since_unix_ms: int, until_unix_ms: int) -> tuple[int, int]:
    """[since, until) in nanoseconds; an end of 0 is open."""
    until_ms = min(until_unix_ms or MAX_UNIX_MS, MAX_UNIX_MS)
    return min(since_unix_ms, MAX_UNIX_MS) * NS_PER_MS, until_ms * NS_PER_MS


def find_camera(frames: FrameStore, name: str) -> CameraState:
    """By "device/camera", or by the camera's name where it is unique. Raises ``QuestionError``."""
    states = frames.cameras()
    found = [state for state in states if name in (state.path, state.name)]
    if len(found) == 1:
        return found[0]
    if found:
        paths = ", ".join(state.path for state in found)
        raise QuestionError(f"{name!r} is the name of several cameras: {paths}")
    known = ", ".join(state.path for state in states[:20]) or "none"
    raise QuestionError(f"there is no camera {name!r}, known: {known}")


def newest_frame(frames: FrameStore, camera: CameraState) -> StoredFrame:
    """The newest frame of a camera. Raises ``QuestionError`` where none has come."""
    frame = frames.newest(camera.device, camera.name)
    if frame is None:
        raise QuestionError(f"camera {camera.path} has not sent a frame yet")
    return frame


def check_age(camera: CameraState, frame: StoredFrame, max_age_ms: int) -> None:
    """Raises ``StaleFrame`` for a frame that is older by the cloud's clock."""
    age_ms = frame.age_ns(time.time_ns()) // NS_PER_MS
    if age_ms <= max_age_ms:
        return
    link = "" if camera.connected else "; the camera is not connected"
    raise StaleFrame(
        f"the newest frame of {camera.path} is {age_ms / 1e3:,.1f} s old (captured "
        f"{utc(frame.tokens.captured_ns):%Y-%m-%dT%H:%M:%SZ}), at most {max_age_ms / 1e3:,.1f} s "
        f"are allowed{link}"
    )


def _everything(_: Observation) -> bool:
    return True


def _of_camera(state: CameraState) -> Wanted:
    return lambda posted: (posted.device, posted.camera) == (state.device, state.name)


def _camera(state: CameraState, newest: StoredFrame | None, now_ns: int) -> pb.Camera:
    camera = pb.Camera(
        device=state.device,
        name=state.name,
        connected=state.connected,
        last_sequence=state.last_sequence,
        last_captured_unix_ms=state.last_captured_ns // NS_PER_MS,
        frames=state.frames,
        damaged_layers=state.damaged_layers,
        bytes=state.bytes,
    )
    if newest is not None:
        camera.last_age_ms = newest.age_ns(now_ns) // NS_PER_MS
        camera.clock_ahead_ms = newest.clock_ahead_ns // NS_PER_MS
    return camera


def _watched(posted: Observation) -> pb.WatchReply:
    probability, least = mean_and_least(posted.probability)
    return pb.WatchReply(
        device=posted.device,
        camera=posted.camera,
        sequence=posted.sequence,
        captured_unix_ms=posted.captured_ns // NS_PER_MS,
        question=posted.question,
        answer=posted.answer,
        packet_bytes=posted.packet_bytes,
        answered_unix_ms=posted.answered_ns // NS_PER_MS,
        probability=probability,
        least_probability=least,
        identity=posted.identity,
    )
