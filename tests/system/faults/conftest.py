"""A bundle and a scene for every fault, and the table of all faults at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_testing.fault_scene import HEAD, Scene, packets_of
from saccade_testing.tiny_bundle import write_bundle

_lines: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Small: the cloud is there in a second. Edges use its name and its bounds."""
    return write_bundle(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def scene(tmp_path: Path, bundle: Bundle, request: pytest.FixtureRequest) -> Scene:
    lines = request.config.stash.setdefault(_lines, [])
    return Scene(tmp_path, bundle, packets_of(tmp_path, 2, 3, 4), lines.append)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if lines := config.stash.get(_lines, []):
        terminalreporter.section("faults: where the packets are")
        for line in (HEAD, *lines):
            terminalreporter.write_line(line)
