"""The reference engine passes the contract of engines, for several kinds of language model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from saccade_cloud.engines.base import Engine, EngineLimits
from saccade_cloud.engines.transformers_engine.checkpoint import open_model
from saccade_cloud.engines.transformers_engine.engine import CheckpointModel, TransformersEngine
from saccade_testing import checkpoints
from saccade_testing.engine_contract import EngineContract


class _TransformersContract(EngineContract):
    family: str
    prefix_bytes = 1 << 24

    @pytest.fixture(autouse=True)
    def _model(self, checkpoint_models: CheckpointModels) -> None:
        self.model, self.tokenizer = checkpoint_models.of(self.family)
        self.width = self.model.language.width
        self.vocab = self.model.language.vocab
        self.stop = next(t for t, id_ in self.tokenizer.get_vocab().items() if id_ == 7)

    def open_engine(self, limits: EngineLimits) -> Engine:
        return TransformersEngine(
            self.model,
            self.tokenizer,
            stop=[self.stop],
            limits=limits,
            prefix_bytes=self.prefix_bytes,
        )


class TestLlama(_TransformersContract):
    family = "llava"


class TestQwen2WithoutSharedPrefixes(_TransformersContract):
    family = "internvl"
    prefix_bytes = 0


class CheckpointModels:
    """Tiny checkpoints, each opened once. An engine at a time uses one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, tuple[CheckpointModel, Tokenizer]] = {}

    def of(self, family: str) -> tuple[CheckpointModel, Tokenizer]:
        if family not in self._opened:
            folder = checkpoints.make(family, self._folder / family)
            model = CheckpointModel.of(open_model(folder))
            self._opened[family] = model, Tokenizer.from_file(str(folder / "tokenizer.json"))
        return self._opened[family]


@pytest.fixture(scope="module")
def checkpoint_models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckpointModels]:
    threads = torch.get_num_threads()
    yield CheckpointModels(tmp_path_factory.mktemp("checkpoints"))
    torch.set_num_threads(threads)
