"""The demo writes over its own output, and over nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.errors import ConfigError
from saccade.files import replace
from saccade_demo.page import TEMPLATE, page_begins
from saccade_demo.show import PAGE, SUMMARY, SUMMARY_BEGINS, DemoSettings, check_output, show
from saccade_testing.foreign_files import DATABASES, FILES, NO_FILES, snapshot, text


@pytest.mark.parametrize("name", [PAGE, SUMMARY])
@pytest.mark.parametrize("make", [*FILES, *DATABASES, *NO_FILES], ids=lambda make: make.__name__)
def test_a_file_of_another_program_ends_the_demo_before_it_begins(
    make: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    before = snapshot(tmp_path)
    with pytest.raises(ConfigError, match=name):
        show(DemoSettings(out=tmp_path))
    assert snapshot(tmp_path) == before


def test_an_output_that_is_no_folder_is_said_so(tmp_path: Path) -> None:
    text(tmp_path / "file")
    with pytest.raises(ConfigError, match="is no folder"):
        check_output(tmp_path / "file")


def test_its_own_output_is_written_over(tmp_path: Path) -> None:
    for begins, name, data in (
        (page_begins(), PAGE, TEMPLATE.read_bytes()),
        (SUMMARY_BEGINS, SUMMARY, SUMMARY_BEGINS[0] + b"}"),
    ):
        for _ in range(2):
            check_output(tmp_path)
            replace(tmp_path / name, data, "the output", begins, mode=0o666)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PAGE, SUMMARY]
