from __future__ import annotations

from dataclasses import replace

import pytest

from saccade.errors import LimitExceeded
from saccade.types import Timing
from saccade.v1 import vision_pb2
from saccade_cloud.frame_store import CodedTokens, StoredFrame
from saccade_cloud.memory_frames import MemoryFrames


def frame(
    sequence: int,
    captured_ns: int | None = None,
    device: str = "kerb",
    received_ns: int = 1000,
    camera: str = "north",
    size: int = 0,
) -> StoredFrame:
    when = sequence if captured_ns is None else captured_ns
    tokens = CodedTokens(bytes(size), vision_pb2.Hello(), sequence, camera, when)
    return StoredFrame(device, 1, tokens, 100, received_ns, Timing())


def connected(frames: MemoryFrames, device: str = "kerb") -> MemoryFrames:
    frames.connect(device, ("north",))
    return frames


def sequences(frames: MemoryFrames, up_to: int) -> list[int]:
    return [n for n in range(1, up_to + 1) if frames.get("kerb", 1, n) is not None]


def test_the_newest_frames_stay() -> None:
    frames = connected(MemoryFrames(device_bytes=3 * frame(1).held_bytes))
    assert all(frames.put(frame(n)) for n in range(1, 8))
    assert sequences(frames, 9) == [5, 6, 7]
    [state] = frames.cameras()
    assert (state.frames, state.bytes, state.last_sequence) == (7, 700, 7)


def test_a_backlog_can_be_asked_about_and_does_not_push_out_the_newest() -> None:
    frames = connected(MemoryFrames(device_bytes=3 * frame(1).held_bytes))
    for sequence, captured_ns in ((7, 70), (9, 90), (8, 80), (1, 10), (2, 20)):
        frames.put(frame(sequence, captured_ns))
        assert frames.get("kerb", 1, sequence) is not None
    assert sequences(frames, 9) == [1, 2, 9]
    newest = frames.newest("kerb", "north")
    assert newest is not None
    assert newest.tokens.sequence == 9


def test_a_frame_from_the_future_does_not_outrank_what_comes_later() -> None:
    frames = connected(MemoryFrames())
    frames.put(frame(1, captured_ns=5000, received_ns=1000))
    frames.put(frame(2, captured_ns=2000, received_ns=2010))
    newest = frames.newest("kerb", "north")
    assert newest is not None
    assert newest.tokens.sequence == 2


def test_the_same_packet_twice_counts_once() -> None:
    frames = connected(MemoryFrames())
    assert frames.put(frame(1))
    assert not frames.put(frame(1))
    assert frames.cameras()[0].frames == 1
    assert frames.put(replace(frame(1), boot=2)), "another boot counts anew"


def test_a_camera_is_connected_while_one_of_its_sessions_is() -> None:
    frames = connected(connected(MemoryFrames()))
    frames.disconnect("kerb", ("north",))
    assert frames.cameras()[0].connected
    frames.disconnect("kerb", ("north",))
    assert not frames.cameras()[0].connected


def test_beyond_the_limit_the_camera_that_left_first_makes_room() -> None:
    frames = MemoryFrames(max_cameras=2)
    for device in ("a", "b"):
        connected(frames, device).put(frame(1, device=device))
    for device in ("b", "a"):
        frames.disconnect(device, ("north",))
    connected(frames, "c")
    assert [state.device for state in frames.cameras()] == ["a", "c"]
    assert frames.get("b", 1, 1) is None
    assert frames.get("a", 1, 1) is not None


def test_connected_cameras_never_make_room() -> None:
    frames = connected(connected(MemoryFrames(max_cameras=2), "a"), "b")
    with pytest.raises(
        LimitExceeded, match="1 more cameras beside 2 connected ones, the limit is 2"
    ):
        connected(frames, "c")
    assert [state.path for state in frames.cameras()] == ["a/north", "b/north"]


def test_what_never_came_is_not_there() -> None:
    frames = connected(MemoryFrames())
    assert frames.get("kerb", 1, 1) is None
    assert frames.newest("kerb", "north") is None
    assert frames.newest("mast", "north") is None


SIZE = 10_000
HELD = frame(1, size=SIZE).held_bytes


def test_beyond_its_bytes_a_device_loses_what_came_first_and_no_cameras_newest() -> None:
    frames = MemoryFrames(max_bytes=100 * HELD, device_bytes=4 * HELD)
    frames.connect("kerb", ("north", "south"))
    frames.put(frame(1, camera="south", size=SIZE))
    for sequence in range(2, 8):
        frames.put(frame(sequence, size=SIZE))
    assert sequences(frames, 9) == [1, 5, 6, 7]
    assert frames.held_bytes == 4 * HELD


def test_each_cameras_only_frame_goes_too_where_the_bytes_do_not_suffice() -> None:
    names = tuple(f"camera-{number}" for number in range(6))
    frames = MemoryFrames(max_bytes=100 * HELD, device_bytes=4 * HELD)
    frames.connect("kerb", names)
    for sequence, name in enumerate(names, 1):
        frames.put(frame(sequence, camera=name, size=SIZE))
    assert sequences(frames, 9) == [3, 4, 5, 6]


def test_beyond_all_bytes_the_device_that_holds_most_makes_room() -> None:
    frames = MemoryFrames(max_bytes=10 * HELD, device_bytes=9 * HELD)
    for device in ("quiet", "greedy", "late"):
        connected(frames, device)
    frames.put(frame(1, device="quiet", size=SIZE))
    frames.put(frame(2, device="quiet", size=SIZE))
    for sequence in range(1, 50):
        frames.put(frame(sequence, device="greedy", size=SIZE))
    frames.put(frame(1, device="late", size=SIZE))
    assert frames.held_bytes == 10 * HELD
    assert [d for d in ("quiet", "late") if frames.get(d, 1, 1)] == ["quiet", "late"]
    assert frames.get("quiet", 1, 2)


def test_the_frame_that_came_last_can_be_asked_about_whatever_its_size() -> None:
    frames = MemoryFrames(max_bytes=HELD, device_bytes=HELD)
    connected(connected(frames, "mast")).put(frame(1, device="mast", size=SIZE))
    assert frames.put(frame(1, size=3 * SIZE))
    assert sequences(frames, 2) == [1]
    assert frames.get("mast", 1, 1) is None
    assert frames.put(frame(2))
    assert sequences(frames, 2) == [2]


def test_what_a_camera_that_made_room_held_is_held_no_more() -> None:
    frames = connected(MemoryFrames(max_cameras=1), "a")
    frames.put(frame(1, device="a", size=SIZE))
    frames.disconnect("a", ("north",))
    connected(frames, "b")
    assert frames.held_bytes == 0


def test_a_device_with_ever_new_names_pushes_out_its_own_and_nobody_elses() -> None:
    frames = connected(MemoryFrames(max_cameras=8, of_one_device=3))
    frames.disconnect("kerb", ["north"])
    for number in range(50):
        name = f"camera-{number}"
        frames.connect("greedy", [name])
        frames.disconnect("greedy", [name])
    paths = [state.path for state in frames.cameras()]
    assert paths == ["greedy/camera-47", "greedy/camera-48", "greedy/camera-49", "kerb/north"]
