"""The ONNX engine passes the contract of engines on exported models with shared key heads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from saccade_cloud.engines.base import Engine, EngineLimits
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import OnnxEngine, OnnxFiles
from saccade_export.language_export import (
    DecoderOptions,
    LanguageFiles,
    MappedTensors,
    export_language,
)
from saccade_testing import tiny_languages
from saccade_testing.engine_contract import EngineContract, collect, ids_of, told
from saccade_testing.exported_files import model_files
from saccade_testing.tiny_languages import VOCAB, WIDTH


class _ExportedContract(EngineContract):
    kind: str
    options = DecoderOptions()
    prefix_bytes = 1 << 24
    width = WIDTH
    vocab = VOCAB
    stop: tuple[str, ...] = ("word7",)

    @pytest.fixture(autouse=True)
    def _files(self, exported: Exported) -> None:
        self.files = exported.of(self.kind, self.options)

    def open_engine(self, limits: EngineLimits) -> Engine:
        embedding, decoder = model_files(self.files)
        return OnnxEngine(
            OnnxFiles(embedding, decoder, tokenizer()),
            DecoderShape(
                self.files.layers, self.files.kv_heads, self.files.head_dim, self.files.width
            ),
            stop=self.stop,
            limits=limits,
            prefix_bytes=self.prefix_bytes,
        )


class TestLlama(_ExportedContract):
    kind = "llama"

    def test_any_of_several_stop_tokens_ends_an_answer(self) -> None:
        """Those that the answers have in the middle, without any."""
        self.stop = ()
        answers = [ids_of(self.alone(prompt)) for prompt in self.prompts(6)]
        assert {len(ids) for ids in answers} == {24}
        chosen = {ids[12] for ids in answers}
        assert len(chosen) > 1
        self.stop = tuple(f"word{id_}" for id_ in chosen)
        for prompt, ids in zip(self.prompts(6), answers, strict=True):
            chunks = self.run(partial(collect, prompt=prompt))
            first = next(n for n, id_ in enumerate(ids) if id_ in chosen)
            assert told(chunks)[1] == ids[:first]
            assert chunks[-1].finish == "stop"


class TestGemma3(_ExportedContract):
    """Sliding windows, and visual tokens that see each other, with room for few prefixes."""

    kind = "gemma3"
    options = DecoderOptions(bidirectional=True)
    prefix_bytes = 1 << 15


class TestQwen3Vl(_ExportedContract):
    """Three rows of positions and deepstack rows, without shared prefixes."""

    kind = "qwen3-vl"
    options = DecoderOptions(deepstack=2)
    prefix_bytes = 0


class Exported:
    """Each model, exported once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, LanguageFiles] = {}

    def of(self, kind: str, options: DecoderOptions) -> LanguageFiles:
        if kind not in self._files:
            model = tiny_languages.make(kind)
            tensors, folder = MappedTensors(model.state_dict()), self._folder / kind
            self._files[kind] = export_language(model.config, tensors, folder, "f32", options)
        return self._files[kind]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("exported"))


def tokenizer() -> Tokenizer:
    """A word for each id."""
    return Tokenizer(models.WordLevel({f"word{n}": n for n in range(VOCAB)}, unk_token="word0"))
