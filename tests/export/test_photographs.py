"""Photographs that an export is compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.errors import ConfigError
from saccade_export import photographs


def test_only_readable_colour_pictures_of_some_size_count(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "b.png")
    Image.fromarray(levels[:10]).save(tmp_path / "icon.png")
    Image.fromarray(levels[..., 0]).save(tmp_path / "grey.png")
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("no picture either")
    found = photographs.load(tmp_path, 8)
    assert len(found) == 1
    np.testing.assert_array_equal(found[0], levels)


def test_a_folder_without_photographs_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        photographs.load(tmp_path, 8)


def test_photographs_that_installed_packages_ship_are_found() -> None:
    # matplotlib is among the development packages, and ships one.
    assert photographs.load(None, 2)[0].shape[2] == 3
