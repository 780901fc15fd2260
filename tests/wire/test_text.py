"""Names and questions are looked at before they are sent, or become paths."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade import text
from saccade.errors import ConfigError, LimitExceeded
from saccade.paths import expand, state_folder
from saccade.text import check_name, file_name, host_name


@pytest.mark.parametrize(
    "name", ["", "../../evil", "/etc/passwd", "a/b", "two\nlines", "nul\0", "caf\udce9", "\x1b[2J"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a device or a camera"):
        check_name(name, ConfigError)


def test_a_name_has_sixty_four_characters_at_most() -> None:
    check_name("摄" * 64, ConfigError)
    with pytest.raises(LimitExceeded, match="received 65 characters in a name"):
        check_name("x" * 65, ConfigError)


@given(st.text(), st.text())
def test_names_become_one_file_name_that_every_disk_takes(device: str, camera: str) -> None:
    name = file_name(device, camera)
    assert len(name) <= 200
    assert "/" not in name
    assert name.isascii()
    assert name.isprintable()


def test_long_names_that_differ_late_are_two_files() -> None:
    assert file_name("摄" * 63 + "a") != file_name("摄" * 63 + "b")
    assert file_name("kerb", "north/1") == "kerb.north%2F1"


@pytest.mark.parametrize(
    ("said", "named"), [("", "device"), ("a\udce9", "device"), ("kerb", "kerb")]
)
def test_a_machine_without_a_usable_name_is_a_device(
    said: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: said)
    assert host_name() == named
    assert text.is_name(host_name())


def test_without_a_home_it_is_said_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987654)  # whom no passwd knows
    with pytest.raises(ConfigError, match="give --spool PATH, or set STATE_DIRECTORY"):
        state_folder("--spool PATH")
    with pytest.raises(ConfigError, match="~/x: this user has no home folder: give a full path"):
        expand("~/x")
    assert expand("/x") == Path("/x")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder("") == Path("/state/saccade")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/one:/var/lib/two")
    assert state_folder("") == Path("/var/lib/one")
