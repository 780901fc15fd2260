from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.errors import SourceError
from saccade_edge.source import open_source
from saccade_edge.source.headers import picture_size
from saccade_edge.source.picture_bounds import MAX_PIXELS
from saccade_edge.source.picture_files import as_rgb, read_picture
from saccade_testing.frames import read_all

MakeVideo = Callable[..., Path]


def test_a_video_file_gives_every_frame_in_its_own_time(make_video: MakeVideo) -> None:
    with open_source(str(make_video(frames=12, fps=10)), "gate") as source:
        frames = list(source)
    assert not source.live
    assert [f.sequence for f in frames] == list(range(1, 13))
    gaps = np.diff([f.captured_ns for f in frames])
    assert np.allclose(gaps, 100_000_000, atol=1_000)
    assert all(f.size == (96, 160) and f.picture.dtype == np.uint8 for f in frames)
    assert frames[0].picture[40, 20, 0] > 180 > frames[0].picture[40, 20, 1]  # red stays red


def test_sampled_frames_keep_their_number_in_the_video(make_video: MakeVideo) -> None:
    with open_source(str(make_video(frames=12, fps=12)), "gate", fps=4) as source:
        assert [f.sequence for f in source] == [1, 4, 7, 10]


def test_sampling_above_the_videos_rate_gives_every_frame(make_video: MakeVideo) -> None:
    with open_source(str(make_video(frames=5, fps=10)), "gate", fps=100) as source:
        assert [f.sequence for f in source] == [1, 2, 3, 4, 5]


def test_a_file_uri_is_a_path(make_video: MakeVideo) -> None:
    with open_source(f"file://{make_video(frames=2)}", "gate") as source:
        assert len(list(source)) == 2


def test_a_closed_source_ends(make_video: MakeVideo) -> None:
    source = open_source(str(make_video()), "gate")
    next(source)
    source.close()
    source.close()
    assert list(source) == []


def test_a_cut_off_video_gives_what_is_left_or_says_so(
    make_video: MakeVideo, tmp_path: Path
) -> None:
    whole = make_video(frames=30).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.mp4"):
        open_source(str(cut), "gate")


def test_damage_inside_a_video_costs_only_what_it_hit(make_video: MakeVideo) -> None:
    path = make_video(frames=30)
    data = bytearray(path.read_bytes())
    at = data.index(b"mdat") + 1000
    data[at : at + 40] = bytes(40)
    path.write_bytes(bytes(data))
    with open_source(str(path), "gate") as source:
        frames, failures = read_all(source)
    assert 1 <= len(frames) < 30 or failures == []
    assert frames[-1].sequence == 30


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("noise.mp4", b"this is no video at all" * 50, "cannot open"),
        ("empty.mp4", b"", "cannot open"),
        ("noise.png", b"this is no picture", "neither PNG, JPEG nor WebP"),
    ],
)
def test_an_unreadable_file_is_one_clear_error(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says), open_source(str(path), "gate") as source:
        list(source)


def test_a_missing_file_an_empty_folder_and_a_strange_scheme_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        open_source(str(tmp_path / "gone.mp4"), "gate")
    with pytest.raises(SourceError, match="holds no picture"):
        open_source(str(tmp_path), "gate")
    with pytest.raises(SourceError, match="cannot read ftp://"):
        open_source("ftp://example.org/a.mp4", "gate")
    with pytest.raises(SourceError, match="fps must be above 0"):
        open_source(str(tmp_path), "gate", fps=0)


def test_a_sound_file_holds_no_video(tmp_path: Path) -> None:
    path = tmp_path / "beep.wav"
    samples = np.zeros(800, "<i2").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16,
                         1, 1, 8000, 16000, 2, 16, b"data", len(samples))  # fmt: skip
    path.write_bytes(header + samples)
    with pytest.raises(SourceError, match="holds no video stream"):
        open_source(str(path), "gate")


def test_a_folder_gives_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, level in (("b.jpg", 200), ("a.png", 10), ("c.webp", 100)):
        cv2.imwrite(str(tmp_path / name), np.full((32, 48, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_source(str(tmp_path), "gate") as source:
        frames = list(source)
    assert [round(float(f.picture.mean())) for f in frames] == [10, 200, 100]
    assert [f.sequence for f in frames] == [1, 2, 3]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_size_is_read_from_the_header_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(path), np.zeros((33, 57, 3), np.uint8))
    assert picture_size(path.read_bytes()[:2000]) == (33, 57)
    if suffix == ".webp":
        cv2.imwrite(str(path), np.zeros((33, 57, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
        assert picture_size(path.read_bytes()) == (33, 57)  # lossless


@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_a_cut_off_header_has_no_size_or_the_right_one(tmp_path: Path, cut: int) -> None:
    for suffix in (".png", ".jpg", ".webp"):
        path = tmp_path / f"picture{suffix}"
        cv2.imwrite(str(path), np.zeros((33, 57, 3), np.uint8))
        assert picture_size(path.read_bytes()[:cut]) in (None, (33, 57))


def test_a_picture_that_claims_absurd_size_is_refused_undecoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    cv2.imwrite(str(path), np.zeros((16, 16, 3), np.uint8))
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, 16, 60_000, 60_000)
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=f"60000 x 60000 pixels, the limit is {MAX_PIXELS}"):
        read_picture(path)


def test_a_damaged_picture_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SourceError, match="damaged"):
        read_picture(path)


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey, clear = tmp_path / "grey.png", tmp_path / "clear.png"
    cv2.imwrite(str(grey), np.full((20, 30), 77, np.uint8))
    cv2.imwrite(
        str(clear),
        np.dstack([np.full((20, 30, 3), 50, np.uint8), np.zeros((20, 30, 1), np.uint8)]),
    )
    assert read_picture(grey).shape == (20, 30, 3)
    assert (read_picture(grey) == 77).all()
    assert (read_picture(clear) == 50).all()


def test_arrays_become_rgb_or_an_error() -> None:
    assert as_rgb(np.zeros((20, 30), np.uint8)).shape == (20, 30, 3)
    assert as_rgb(np.zeros((20, 30, 4), np.uint8)).shape == (20, 30, 3)
    with pytest.raises(SourceError, match=r"uint8 in 0\.\.255, received float32"):
        as_rgb(np.zeros((20, 30, 3), np.float32))
    with pytest.raises(SourceError, match=r"received \(20, 30, 2\)"):
        as_rgb(np.zeros((20, 30, 2), np.uint8))
    with pytest.raises(SourceError, match="0 x 20"):
        as_rgb(np.zeros((20, 0, 3), np.uint8))
