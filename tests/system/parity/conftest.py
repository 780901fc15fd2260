"""Tiny checkpoints of every family, each whole and split, opened once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from saccade_testing.parity import Families
from saccade_testing.split import SplitFamilies


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Families]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Families(tmp_path_factory.mktemp("families"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def split(families: Families) -> SplitFamilies:
    return SplitFamilies(families)
