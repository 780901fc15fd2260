"""Places and rates of one device, by a clock that the test sets."""

from __future__ import annotations

import logging

import pytest

from saccade_cloud.quotas import BURST_S, Bucket, Quota, Quotas, Stream


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Devices:
    """``ended``: (stream, reason) of those that had to go."""

    def __init__(self, **quota: float) -> None:
        self.clock = Clock()
        self.quotas = Quotas(Quota(**quota), clock=self.clock)  # type: ignore[arg-type]
        self.ended: list[tuple[str, str]] = []

    def enter(self, name: str, *cameras: str, device: str = "kerb") -> Stream:
        return self.quotas.enter(device, cameras, lambda reason: self.ended.append((name, reason)))


def test_two_streams_of_a_camera_are_let_in_and_the_third_ends_the_first() -> None:
    it = Devices(streams_per_camera=2)
    it.enter("1", "north")
    it.enter("2", "north")
    assert it.ended == []
    it.enter("3", "north")
    reason = "a newer stream of this camera came, and 2 at once is the limit"
    assert it.ended == [("1", reason)]
    it.enter("4", "north")
    assert [name for name, _ in it.ended] == ["1", "2"]


def test_a_stream_counts_for_each_of_its_cameras_and_others_do_not() -> None:
    it = Devices(streams_per_camera=1)
    it.enter("1", "north", "south")
    it.enter("2", "west")
    assert it.ended == []
    it.enter("3", "south", "east")
    assert [name for name, _ in it.ended] == ["1"]


def test_a_device_has_so_many_streams_and_the_oldest_goes() -> None:
    it = Devices(streams=3)
    for n in range(3):
        it.enter(str(n), f"camera {n}")
    assert it.ended == []
    it.enter("3", "camera 3")
    reason = "a newer stream of this device came, and 3 at once is the limit"
    assert it.ended == [("0", reason)]


def test_devices_have_places_of_their_own() -> None:
    it = Devices(streams=1)
    it.enter("1", "north")
    it.enter("2", "north", device="mast")
    assert it.ended == []


def test_a_place_that_was_left_is_free_and_leaving_twice_is_safe() -> None:
    it = Devices(streams=2)
    first = it.enter("1", "a")
    it.enter("2", "b")
    it.quotas.leave(first)
    it.quotas.leave(first)
    it.enter("3", "c")
    assert it.ended == []
    it.enter("4", "d")
    assert [name for name, _ in it.ended] == ["2"]


def test_messages_and_bytes_each_have_a_rate_and_the_longer_wait_counts() -> None:
    it = Devices(messages_per_s=10, bytes_per_s=1000)
    stream = it.enter("1", "north")
    assert it.quotas.take(stream, 2000) == 0  # two seconds' worth
    assert it.quotas.take(stream, 500) == pytest.approx(0.5)
    assert it.quotas.take(stream, 0) == pytest.approx(0.5)
    for _ in range(17):
        assert it.quotas.take(stream, 0) == pytest.approx(0.5)  # 20 messages: all of the burst
    waits = [it.quotas.take(stream, 0) for _ in range(6)]
    assert waits[-1] == pytest.approx(0.6)  # by messages now


def test_streams_of_a_device_share_its_rates() -> None:
    it = Devices(bytes_per_s=1000)
    first, second = it.enter("1", "north"), it.enter("2", "south")
    other = it.enter("3", "north", device="mast")
    it.quotas.take(first, 3000)
    assert it.quotas.take(second, 1000) == pytest.approx(2.0)
    assert it.quotas.take(other, 2000) == 0


def test_who_waited_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    it = Devices(bytes_per_s=1000)
    stream = it.enter("1", "north")
    it.quotas.take(stream, 2000)
    assert it.quotas.slowed == 0
    with caplog.at_level(logging.WARNING):
        it.quotas.take(stream, 1)
        it.quotas.take(stream, 1)
    assert (it.quotas.slowed, stream.device.slowed) == (2, 2)
    assert [r.getMessage() for r in caplog.records] == [
        "device kerb sends faster than its quota and is slowed"
    ]


@pytest.mark.parametrize(("bytes_taken", "messages"), [(1500, 1), (0, 15)])
def test_a_debt_of_either_kind_survives_leaving(bytes_taken: int, messages: int) -> None:
    it = Devices(messages_per_s=10, bytes_per_s=1000)
    stream = it.enter("1", "north")
    for _ in range(messages):
        it.quotas.take(stream, bytes_taken)
    it.quotas.leave(stream)
    again = it.enter("2", "north")
    waits = [it.quotas.take(again, 600), *(it.quotas.take(again, 0) for _ in range(5))]
    assert waits[-1] == pytest.approx(0.1)  # 2,100 of 2,000 bytes, or 21 of 20 messages


def test_a_device_without_debt_is_forgotten_when_another_comes_and_one_with_streams_is_not() -> (
    None
):
    it = Devices(bytes_per_s=1000)
    gone, there = it.enter("1", "a", device="gone"), it.enter("2", "b", device="there")
    it.quotas.take(gone, 1000)
    it.quotas.take(there, 1)
    it.quotas.leave(gone)
    it.clock.now_s = 0.99
    assert it.enter("3", "a", device="gone").device is gone.device
    it.quotas.leave(it.enter("4", "a", device="gone"))
    gone.device.streams.clear()
    it.clock.now_s = 1.0
    assert it.enter("5", "a", device="gone").device is not gone.device
    assert it.enter("6", "c", device="there").device is there.device


def test_a_bucket_begins_full_fills_at_its_rate_and_never_over_its_brim() -> None:
    bucket = Bucket(10.0, 5.0)
    assert (BURST_S, bucket.level(5.0), bucket.full(5.0)) == (2.0, 20.0, True)
    assert bucket.take(30, 5.0) == pytest.approx(1.0)
    assert (bucket.level(5.0), bucket.level(5.5), bucket.level(7.0)) == (-10, -5, 10)
    assert not bucket.full(7.99)
    assert bucket.full(8.0)
    assert bucket.level(99.0) == 20
    assert bucket.take(5, 6.0) == pytest.approx(0.5)
    assert bucket.take(5, 6.5) == pytest.approx(0.5)
    assert bucket.take(1, 8.0) == 0
