"""The shipped bundle and its clip, and a cloud process that serves it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_edge.source import open_source
from saccade_testing.commands import cloud_process
from saccade_testing.edge_bundle import write_edge_bundle
from saccade_testing.shipped import SHIPPED

# A shell's background job ignores SIGINT, and so would every process that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The shipped one, or another to develop with."""
    return Bundle.open(os.environ.get("SACCADE_TEST_BUNDLE", SHIPPED))


@pytest.fixture(scope="session")
def clip() -> Path:
    return SHIPPED / "clip.mp4"


@pytest.fixture(scope="session")
def picture(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame of the clip with vehicles in it, as a PNG file."""
    import cv2

    path = tmp_path_factory.mktemp("picture") / "frame.png"
    with open_source(str(clip), "gate") as source:
        frame = next(each for each in source if each.sequence == 101)
    cv2.imwrite(str(path), cv2.cvtColor(frame.picture, cv2.COLOR_RGB2BGR))
    return path


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its edge half runs; its digest is not the shipped bundle's."""
    return write_edge_bundle(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def cloud(bundle: Bundle) -> Iterator[str]:
    """The address of a cloud that all tests of a module share: what one of them does to it, the
    others feel.
    """
    with cloud_process(bundle.folder) as (process, address):
        yield address
        assert process.poll() is None, "the cloud ended before its time"
