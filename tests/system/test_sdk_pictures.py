"""One picture in every form that programs hand over has one answer, or an error that says why."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

import saccade
from saccade.bundle import Bundle
from saccade.client.pictures import plain
from saccade.errors import SourceError
from saccade.types import U8
from saccade_edge.source.picture_files import read_picture

COLOUR = ("P", "PA", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")
GREY = ("L", "LA", "La", "I", "I;16", "I;16L", "I;16B")
# Of 255 levels: what the way through a mode and back costs, by Pillow's own arithmetic.
LOSS = {"P": 64, "PA": 64, "YCbCr": 4, "HSV": 6, "LAB": 24}


@pytest.fixture(scope="module")
def image(picture: Path) -> Image.Image:
    return Image.open(picture).convert("RGB")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture in a mode, by the way that Pillow has to it."""
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    if mode in ("PA", "La", "RGBa"):
        return image.convert({"PA": "P"}.get(mode, mode.upper())).convert(mode)
    if mode.startswith("I;16"):
        wide = np.asarray(image.convert("L")).astype(">u2" if mode == "I;16B" else "<u2") * 257
        order = ">u2" if mode == "I;16B" else "<u2"
        return Image.frombytes(mode, image.size, wide.astype(order).tobytes())
    return image.convert(mode)


@pytest.mark.parametrize("mode", COLOUR)
def test_every_mode_of_colour_is_seen_as_rgb(image: Image.Image, mode: str) -> None:
    seen = plain(in_mode(image, mode))
    assert isinstance(seen, np.ndarray)
    assert seen.dtype == np.uint8
    difference = np.abs(seen.astype(int) - np.asarray(image))
    assert difference.max() <= LOSS.get(mode, 0)


@pytest.mark.parametrize("mode", GREY)
def test_every_mode_of_grey_keeps_its_levels(image: Image.Image, mode: str) -> None:
    seen = plain(in_mode(image, mode))
    assert isinstance(seen, np.ndarray)
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(seen, np.repeat(grey[:, :, None], 3, axis=2))


def test_black_and_white_is_seen_as_such(image: Image.Image) -> None:
    seen = plain(image.convert("1"))
    assert isinstance(seen, np.ndarray)
    assert set(np.unique(seen)) == {0, 255}


def test_wide_integers_of_16_bits_are_scaled_and_others_refused(image: Image.Image) -> None:
    grey = np.asarray(image.convert("L"))
    wide = Image.fromarray(grey.astype(np.int32) * 257)
    assert wide.mode == "I"
    seen = plain(wide)
    assert isinstance(seen, np.ndarray)
    assert np.array_equal(seen[:, :, 0], grey)
    for values in (grey.astype(np.int32) * 70_000, grey.astype(np.int32) - 300):
        with pytest.raises(
            SourceError, match="mode I with values in .* convert it to mode L or RGB"
        ):
            plain(Image.fromarray(values))


def test_floats_are_refused_because_their_range_is_a_guess(image: Image.Image) -> None:
    with pytest.raises(SourceError, match="mode F does not say what its values mean"):
        plain(image.convert("F"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_picture_is_turned_back_in_every_form(
    image: Image.Image, tmp_path: Path, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{kind.lower()}"
    image.resize((48, 32)).save(path, kind, exif=exif)
    expected = read_picture(path)
    assert expected.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    with Image.open(path) as opened:
        assert np.array_equal(plain(opened), expected)


def grey_16(image: Image.Image) -> bytes:
    return cv2.imencode(".png", np.asarray(image.convert("L")).astype(np.uint16) * 257)[1].tobytes()


def dark_16(image: Image.Image) -> bytes:
    return cv2.imencode(".png", np.asarray(image.convert("L")).astype(np.uint16))[1].tobytes()


def colour_16(image: Image.Image) -> bytes:
    return cv2.imencode(".png", np.asarray(image).astype(np.uint16) * 200 + 77)[1].tobytes()


def saved(kind: str, mode: str = "RGB", **options: object) -> Callable[[Image.Image], bytes]:
    def save(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.convert(mode).save(stream, kind, **options)
        return stream.getvalue()

    return save


FILES: dict[str, Callable[[Image.Image], bytes]] = {
    "16 bits": grey_16,
    "16 dark bits": dark_16,
    "16 bits of colour": colour_16,
    "palette": saved("PNG", "P"),
    "palette with a transparent colour": saved("PNG", "P", transparency=3),
    "one bit": saved("PNG", "1"),
    "grey with alpha": saved("PNG", "LA"),
    "alpha": saved("PNG", "RGBA"),
    "JPEG": saved("JPEG"),
    "progressive JPEG": saved("JPEG", progressive=True, subsampling=2),
    "grey JPEG": saved("JPEG", "L"),
    "WebP": saved("WEBP", quality=70),
    "animated PNG": saved("PNG", save_all=True, append_images=[Image.new("RGB", (640, 384))]),
    "animated WebP": saved(
        "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (640, 384))]
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_path_bytes_and_image_of_a_file_are_the_same_pixels(
    image: Image.Image, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "picture"
    path.write_bytes(FILES[name](image))
    with Image.open(path) as opened:
        assert np.array_equal(plain(opened), read_picture(path))


def test_every_form_of_a_picture_has_one_answer(
    bundle: Bundle, picture: Path, tmp_path: Path
) -> None:
    pixels = read_picture(picture)
    data = picture.read_bytes()
    alpha = np.dstack([pixels, pixels[:, :, 0]])
    forms: tuple[object, ...] = (
        *(picture, str(picture), data, bytearray(data), memoryview(data)),
        *(pixels, alpha, Image.fromarray(pixels), Image.open(picture)),
    )
    with saccade.local(bundle) as vision:
        assert len({vision.ask(form, "describe the scene .").text for form in forms}) == 1  # type: ignore[arg-type]  # also what type checkers don't promise


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (None, "a picture is a path, the bytes of a file, .* not NoneType"),
        ([[0]], "a picture is a path, the bytes of a file, .* not list"),
        (b"", "neither PNG, JPEG nor WebP"),
        (b"GIF89a and so on", "neither PNG, JPEG nor WebP"),
        (np.zeros((32, 32, 3), np.float32), "a picture is uint8 in 0..255, received float32"),
        (np.zeros((32, 32), np.uint16), "a picture is uint8 in 0..255, received uint16"),
        (np.zeros((32, 32, 2), np.uint8), r"received \(32, 32, 2\)"),
        (np.zeros((0, 32, 3), np.uint8), "32 x 0 pixels"),
        (Image.new("RGB", (0, 0)), "0 x 0 pixels"),
        ("a\0b.png", "no such file"),
        ("~nobody-of-that-name/a.png", "nobody-of-that-name"),
        ("/", "is a folder, not a picture"),
    ],
)
def test_what_is_no_picture_is_a_source_error(bundle: Bundle, wrong: U8, says: str) -> None:
    with saccade.local(bundle) as vision, pytest.raises(SourceError, match=says):
        vision.ask(wrong, "describe the scene .")


def test_an_image_that_pillow_cannot_read_is_a_source_error(picture: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:20_000])
    with Image.open(cut) as opened, pytest.raises(SourceError, match="cannot be read: .*truncated"):
        plain(opened)
    closed = Image.open(picture)
    closed.close()
    with pytest.raises(SourceError, match="cannot be read"):
        plain(closed)
