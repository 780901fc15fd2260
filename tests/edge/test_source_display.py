"""A frame is shown as it is meant to be seen: colours, square pixels, upright."""

from __future__ import annotations

import itertools
import logging
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame

from saccade.errors import SourceError
from saccade.types import U8
from saccade_edge.source import open_source
from saccade_edge.source.display import Display, oriented, square_size
from saccade_edge.source.picture_files import read_picture
from saccade_testing.clips import B_FRAMES, Making, clip_bytes, moving, write_clip
from saccade_testing.frames import read_all

UNSPECIFIED, LIMITED, FULL = 0, 1, 2
# Name: (AVColorSpace, Kr, Kb), from ITU-T H.273, table 4. Unspecified is BT.601, as in FFmpeg.
MATRICES = {
    "bt709": (1, 0.2126, 0.0722),
    "unspecified": (2, 0.299, 0.114),
    "fcc": (4, 0.30, 0.11),
    "bt470bg": (5, 0.299, 0.114),
    "bt601": (6, 0.299, 0.114),
    "smpte240m": (7, 0.212, 0.087),
    "bt2020": (9, 0.2627, 0.0593),
}
# (Y, Cb, Cr) of 8 bits: black, white, grey, primaries of BT.601, and colours between.
COLOURS = (
    (16, 128, 128), (235, 128, 128), (128, 128, 128), (81, 90, 240), (145, 54, 34),
    (41, 240, 110), (120, 90, 200), (100, 150, 120), (200, 100, 140),
)  # fmt: skip


def expected(
    colour: tuple[int, int, int], matrix: str, *, full: bool, bits: int = 8
) -> npt.NDArray[np.float64]:
    """RGB in 0..255 by H.273's equations."""
    _, kr, kb = MATRICES[matrix]
    scale = 1 << (bits - 8)
    y, cb, cr = (value * scale for value in colour)
    if full:
        luma, peak = y / (256 * scale - 1), 256 * scale - 1
        blue, red = (cb - 128 * scale) / peak, (cr - 128 * scale) / peak
    else:
        luma = (y - 16 * scale) / (219 * scale)
        blue, red = (cb - 128 * scale) / (224 * scale), (cr - 128 * scale) / (224 * scale)
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    return np.clip(255 * np.array([r, g, b], np.float64), 0, 255).astype(np.float64)


def plain_frame(
    colour: tuple[int, ...], pixel_format: str, matrix: int = 2, colour_range: int = 0
) -> VideoFrame:
    """64 x 48 pixels of one colour, each plane with its value of 8 bits."""
    frame = VideoFrame(64, 48, pixel_format)
    wide = pixel_format.endswith("le")
    shift = 2 if pixel_format.endswith("10le") else 4
    for plane, value in zip(frame.planes, colour, strict=False):
        samples = plane.buffer_size // (2 if wide else 1)
        kind = np.uint16 if wide else np.uint8
        plane.update(np.full(samples, value << shift if wide else value, kind).tobytes())
    frame.colorspace, frame.color_range = matrix, colour_range
    return frame


def shown(frame: VideoFrame) -> npt.NDArray[np.int64]:
    picture = Display("clip").picture(frame)
    assert picture.shape == (frame.height, frame.width, 3)
    pixel: npt.NDArray[np.int64] = picture[24, 32].astype(np.int64)
    return pixel


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize(
    "pixel_format", ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuv420p10le", "yuv444p12le"]
)
@pytest.mark.parametrize("colour_range", [UNSPECIFIED, LIMITED, FULL])
def test_colours_are_what_matrix_and_range_say(
    matrix: str, pixel_format: str, colour_range: int
) -> None:
    bits = 10 if pixel_format.endswith("10le") else 12 if pixel_format.endswith("12le") else 8
    for colour in COLOURS:
        frame = plain_frame(colour, pixel_format, MATRICES[matrix][0], colour_range)
        if pixel_format == "nv12":
            chroma = np.array(colour[1:], np.uint8)
            frame.planes[1].update(np.tile(chroma, frame.planes[1].buffer_size // 2).tobytes())
        right = expected(colour, matrix, full=colour_range == FULL, bits=bits)
        assert np.abs(shown(frame) - right).max() <= 2, (colour, shown(frame), right)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("colour_range", [UNSPECIFIED, FULL])
def test_yuvj_is_full_range_whatever_else_is_said(matrix: str, colour_range: int) -> None:
    for colour in COLOURS:
        frame = plain_frame(colour, "yuvj420p", MATRICES[matrix][0], colour_range)
        assert np.abs(shown(frame) - expected(colour, matrix, full=True)).max() <= 2


def test_grey_is_full_range_unless_it_says_limited() -> None:
    for pixel_format, level in itertools.product(("gray", "gray10le"), (16, 100, 180, 235)):
        frame = plain_frame((level,), pixel_format)
        assert np.abs(shown(frame) - level).max() <= 1
        frame.color_range = LIMITED
        assert np.abs(shown(frame) - (level - 16) * 255 / 219).max() <= 2


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgr24", "rgba", "bgra", "gbrp"])
@pytest.mark.parametrize("colour_range", [UNSPECIFIED, LIMITED, FULL])
def test_rgb_stays_rgb(pixel_format: str, colour_range: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixel_format)
    frame.color_range = colour_range
    assert np.array_equal(Display("clip").picture(frame), picture)


def test_alpha_is_dropped() -> None:
    for alpha in (0, 128, 255):
        frame = plain_frame((*COLOURS[3], alpha), "yuva420p", 1, LIMITED)
        assert np.abs(shown(frame) - expected(COLOURS[3], "bt709", full=False)).max() <= 2


@pytest.mark.parametrize("transfer", [14, 16, 18, 3, 99])  # 10 bits, PQ, HLG, reserved, unknown
def test_a_transfer_function_that_nobody_knows_breaks_nothing(transfer: int) -> None:
    frame = plain_frame(COLOURS[6], "yuv420p10le", 9, LIMITED)
    try:
        frame.color_trc = transfer
        frame.color_primaries = 9
    except AttributeError:
        pytest.skip("this PyAV cannot set a frame's transfer function")
    right = expected(COLOURS[6], "bt2020", full=False, bits=10)
    assert np.abs(shown(frame) - right).max() <= 2


@pytest.mark.parametrize("matrix", [0, 3, 8, 11, 14, 99])
def test_a_matrix_that_cannot_be_used_breaks_nothing(matrix: int) -> None:
    assert shown(plain_frame(COLOURS[6], "yuv420p", matrix)).shape == (3,)


def test_every_pixel_of_an_odd_size_is_converted() -> None:
    for height, width in ((33, 57), (49, 33), (8, 9)):
        frame = VideoFrame(width, height, "yuv420p")
        for plane, value in zip(frame.planes, (200, 128, 128), strict=True):
            plane.update(np.full(plane.buffer_size, value, np.uint8).tobytes())
        picture = Display("clip").picture(frame)
        assert picture.shape == (height, width, 3)
        assert np.abs(picture - expected((200, 128, 128), "bt601", full=False)).max() <= 2


def test_colours_of_a_recording_are_what_it_says(tmp_path: Path) -> None:
    for matrix, colour_range in itertools.product(("bt709", "bt601", "bt2020"), (LIMITED, FULL)):
        frame = plain_frame((120, 90, 200), "yuv420p", MATRICES[matrix][0], colour_range)
        path = write_clip(tmp_path / "clip.mp4", [frame], Making(options={"qp": "0"}))
        with open_source(str(path), "gate") as source:
            seen = next(source).picture[24, 32].astype(np.int64)
        right = expected((120, 90, 200), matrix, full=colour_range == FULL)
        assert np.abs(seen - right).max() <= 2, (matrix, colour_range)


@pytest.mark.parametrize(
    ("size", "aspect", "square"),
    [
        ((384, 352), Fraction(20, 11), (384, 640)),
        ((480, 720), Fraction(8, 9), (480, 640)),
        ((576, 720), Fraction(16, 15), (576, 768)),
        ((480, 704), Fraction(10, 11), (480, 640)),
        ((1080, 1440), Fraction(4, 3), (1080, 1920)),
        ((96, 160), Fraction(1), (96, 160)),
        ((96, 160), None, (96, 160)),
        ((96, 160), Fraction(0), (96, 160)),
        ((96, 160), Fraction(1000), (96, 160)),
        ((96, 160), Fraction(1, 1000), (96, 160)),
        ((96, 160), Fraction(-2), (96, 160)),
        ((4000, 12000), Fraction(2), (2000, 12000)),  # too wide: its height shrinks
    ],
)
def test_square_pixels_keep_the_height_within_bounds(
    size: tuple[int, int], aspect: Fraction | None, square: tuple[int, int]
) -> None:
    assert square_size(size, aspect) == square


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "mov", "avi"])
@pytest.mark.parametrize(("aspect", "width"), [(Fraction(20, 11), 291), (Fraction(1, 2), 80)])
def test_pixels_of_a_recording_become_square(
    container: str, aspect: Fraction, width: int, tmp_path: Path
) -> None:
    making = Making(container, pixel_aspect=aspect, options=B_FRAMES)
    path = write_clip(tmp_path / "clip.bin", moving(12), making)
    with open_source(str(path), "gate") as source:
        frames, _ = read_all(source)
    assert {f.size for f in frames} == {(96, width)}
    plain = write_clip(tmp_path / "plain.bin", moving(12), Making(container, options=B_FRAMES))
    with open_source(str(plain), "gate") as source:
        square = next(source).picture
    difference = cv2.absdiff(cv2.resize(square, (width, 96)), frames[0].picture)
    assert difference.mean() < 4


def test_pixels_whose_shape_changes_in_mid_stream_do_so_at_the_right_frame(tmp_path: Path) -> None:
    parts = [
        (Fraction(1), (96, 160)),
        (Fraction(20, 11), (96, 160)),
        (Fraction(4, 3), (96, 128)),
        (Fraction(1), (96, 128)),
    ]
    path = tmp_path / "clip.ts"
    with path.open("wb") as file:
        for aspect, size in parts:
            making = Making("mpegts", pixel_aspect=aspect, options=B_FRAMES)
            file.write(clip_bytes(moving(15, size), making))
    with open_source(str(path), "gate") as source:
        frames, failures = read_all(source)
    assert failures == []
    widths = [(key, len(list(each))) for key, each in itertools.groupby(f.size[1] for f in frames)]
    assert widths == [(160, 15), (291, 15), (171, 15), (128, 15)]


# The eight orientations of EXIF, by their numbers: how the upright picture is stored.
STORED: dict[int, Callable[[U8], U8]] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, -1),
}
# The display matrix (a, b, c, d) that undoes it: what is stored at column q, row p is shown at
# column a q + c p, row b q + d p.
UNDOING = {
    1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
    5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
}  # fmt: skip


def corners(size: tuple[int, int] = (64, 96)) -> U8:
    """A red, a green, a blue and a grey corner: no turn or flip of it is like another."""
    height, width = size
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[: height // 2, : width // 2] = (230, 20, 20)
    picture[: height // 2, width // 2 :] = (20, 230, 20)
    picture[height // 2 :, : width // 2] = (20, 20, 230)
    return picture


def test_a_display_matrix_is_undone_in_arrays() -> None:
    for number, store in STORED.items():
        a, b, c, d = UNDOING[number]
        matrix = (a, b, 0, c, d, 0, 0, 0, 1)
        assert np.array_equal(oriented(store(corners()), matrix), corners()), number
    assert np.array_equal(oriented(corners(), (0,) * 9), corners())
    assert np.array_equal(oriented(corners(), None), corners())


@pytest.mark.parametrize("number", STORED)
@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(3, 2)])
def test_a_recording_is_shown_upright(number: int, aspect: Fraction, tmp_path: Path) -> None:
    stored = np.ascontiguousarray(STORED[number](corners()))
    path = write_clip(tmp_path / "clip.mp4", [stored] * 3, Making(pixel_aspect=aspect))
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in UNDOING[number])
    # Track header: 36 bytes of version, times, layer and volume, then the matrix.
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with open_source(str(path), "gate") as source:
        picture = next(source).picture
    across = number < 5
    wide = (64, 96 * aspect) if across else (64 * aspect, 96)
    assert picture.shape[:2] == wide
    seen = cv2.resize(picture, (96, 64))
    assert np.abs(seen.astype(int) - corners()).mean() < 12


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("number", STORED)
def test_a_picture_is_shown_upright(suffix: str, number: int, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{suffix}"
    image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra `demo`, writes EXIF")
    stored = image.fromarray(np.ascontiguousarray(STORED[number](corners())))
    exif = image.Exif()
    exif[0x0112] = number
    stored.save(path, exif=exif)
    picture = read_picture(path)
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture.astype(int) - corners()).mean() < 12


def test_a_frame_that_cannot_be_shown_says_its_name() -> None:
    with pytest.raises(SourceError, match="gate is 4 x 4 pixels"):
        Display("gate").picture(VideoFrame(4, 4, "yuv420p"))


def test_frames_whose_format_changes_are_each_shown_right() -> None:
    display = Display("clip")
    for pixel_format in ("yuv420p", "gray", "yuvj420p", "rgb24", "yuv420p"):
        frame = plain_frame((128, 128, 128), pixel_format, 2, FULL)
        assert np.abs(display.picture(frame).astype(int) - 128).max() <= 2


def test_showing_says_nothing_on_the_error_stream(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for pixel_format, matrix in (("yuvj420p", 1), ("yuv420p", 9), ("gray", 2)):
            Display("clip").picture(plain_frame((128, 128, 128), pixel_format, matrix))
    assert capfd.readouterr().err == ""
    assert caplog.text == ""
