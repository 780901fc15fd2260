"""The tiny bundle, for a cloud at the end of an emulated link."""

from __future__ import annotations

import pytest

from saccade.bundle import Bundle
from saccade_testing.tiny_bundle import write_bundle


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("tiny"))
