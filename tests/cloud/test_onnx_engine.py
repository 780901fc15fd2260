from __future__ import annotations

import asyncio
from functools import partial

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.errors import BundleError, EngineError
from saccade_cloud.assemble import decoder_shape, onnx_language, open_engine
from saccade_cloud.engines.base import Engine, EngineLimits, text_prompt
from saccade_cloud.engines.decoder import Decoder, DecoderShape
from saccade_cloud.engines.onnx import OnnxEngine, OnnxFiles
from saccade_cloud.engines.reading import piece_of
from saccade_cloud.tokenizer_file import open_tokenizer
from saccade_testing.engine_contract import EngineContract, collect, joined, told
from saccade_testing.tiny_graphs import WIDTH


class _OnnxContract(EngineContract):
    width = WIDTH
    prefix_bytes: int

    @pytest.fixture(autouse=True)
    def _bundle(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.vocab = bundle.manifest.language.vocab

    def open_engine(self, limits: EngineLimits) -> Engine:
        language = self.bundle.manifest.language
        return OnnxEngine(
            files_of(self.bundle),
            decoder_shape(language),
            stop=self.bundle.manifest.prompt.stop,
            limits=limits,
            prefix_bytes=self.prefix_bytes,
        )


class TestOnnxEngine(_OnnxContract):
    prefix_bytes = 1 << 20


class TestOnnxEngineWithoutSharedPrefixes(_OnnxContract):
    prefix_bytes = 0


class TestOnnxEngineWithRoomForOnePrefix(_OnnxContract):
    prefix_bytes = 2 * 2 * 4 * 2 * 8 * 42  # keys and values, layers, float32, heads, width, length


class TestAnswers:
    def test_probabilities_are_the_softmax_of_the_models_scores(self, bundle: Bundle) -> None:
        """Decoded once more by hand, without cache and batch, in float64."""
        language = bundle.manifest.language
        shape = decoder_shape(language)
        files = files_of(bundle)
        decoder = Decoder(files.embedding, files.decoder, shape, threads=1)
        contract = TestOnnxEngine()
        contract.bundle, contract.vocab = bundle, language.vocab
        for prompt in contract.prompts(4):
            chunks = contract.run(partial(collect, prompt=prompt, max_tokens=6))
            logs: list[float] = []
            for _ in range(6):
                logits, _ = decoder.read([piece_of(prompt, 0, len(prompt))], decoder.empty(1))
                scores = logits[0].astype(np.float64)
                best = int(scores.argmax())
                logs.append(-np.log(np.exp(scores - scores.max()).sum()))
                if best == files.tokenizer.token_to_id(bundle.manifest.prompt.stop[0]):
                    break
                prompt = joined((1,), prompt.spans[0].embeds, [*prompt.ids[prompt.shared :], best])
            probability = chunks[-1].probability
            assert probability is not None
            assert probability.mean == pytest.approx(np.exp(np.mean(logs)), rel=1e-4)
            assert probability.least == pytest.approx(np.exp(min(logs)), rel=1e-4)

    def test_scores_that_are_not_numbers_end_that_answer_alone(self, bundle: Bundle) -> None:
        contract = TestOnnxEngine()
        contract.bundle, contract.vocab = bundle, bundle.manifest.language.vocab
        good = contract.prompts(1)[0]
        bad = joined((1,), np.full((5, WIDTH), np.nan, np.float32), good.ids[good.shared :])

        async def work(engine: Engine) -> tuple[object, ...]:
            both = asyncio.gather(
                collect(engine, bad), collect(engine, good), return_exceptions=True
            )
            return tuple(await both)

        refused, answered = contract.run(work)
        assert isinstance(refused, EngineError)
        assert "scores that are not numbers" in str(refused)
        assert isinstance(answered, list)
        assert told(answered) == told(contract.alone(good))

    def test_sharing_prefixes_never_shows(self, bundle: Bundle) -> None:
        contract = TestOnnxEngine()
        contract.bundle, contract.vocab = bundle, bundle.manifest.language.vocab
        prompts = contract.prompts(30)

        async def answers(prefix_bytes: int) -> list[tuple[str, list[int]]]:
            engine = open_engine(bundle, prefix_bytes=prefix_bytes)
            try:
                chunks = await asyncio.gather(*(collect(engine, p) for p in prompts))
                return [told(c) for c in chunks]
            finally:
                await engine.close()

        assert asyncio.run(answers(0)) == asyncio.run(answers(1 << 20))

    def test_streamed_text_is_the_decoded_text(self, bundle: Bundle) -> None:
        contract = TestOnnxEngine()
        contract.bundle, contract.vocab = bundle, bundle.manifest.language.vocab
        tokenizer = files_of(bundle).tokenizer
        for prompt in contract.prompts(20):
            text, ids = told(contract.alone(prompt))
            assert text == tokenizer.decode(ids, skip_special_tokens=True)

    def test_a_run_that_fails_fails_its_question_and_no_later_one(self, bundle: Bundle) -> None:
        contract = TestOnnxEngine()
        contract.bundle, contract.vocab = bundle, bundle.manifest.language.vocab
        impossible = text_prompt((contract.vocab + 5,))

        async def work(engine: Engine) -> int:
            with pytest.raises(EngineError, match=r"embed\.onnx failed"):
                await collect(engine, impossible)
            return len(await collect(engine, contract.prompts(1)[0]))

        assert contract.run(work) > 0


class TestOpening:
    def test_a_file_that_is_no_graph_is_a_bundle_error(self, bundle: Bundle) -> None:
        files = files_of(bundle)
        no_graph = bundle.model(bundle.manifest.language.tokenizer)
        wrong = OnnxFiles(files.embedding, no_graph, files.tokenizer)
        with pytest.raises(BundleError, match=r"tokenizer\.json is no ONNX model"):
            OnnxEngine(wrong, DecoderShape(2, 2, 8, WIDTH), stop=["<eos>"])

    def test_a_graph_with_fewer_layers_than_stated_is_a_bundle_error(self, bundle: Bundle) -> None:
        with pytest.raises(BundleError, match=r"decoder\.onnx has no input 'past_key_values\.2"):
            OnnxEngine(files_of(bundle), DecoderShape(3, 2, 8, WIDTH), stop=["<eos>"])

    def test_an_end_token_that_is_not_in_the_vocabulary_is_a_bundle_error(
        self, bundle: Bundle
    ) -> None:
        with pytest.raises(BundleError, match="'<end>'"):
            OnnxEngine(files_of(bundle), DecoderShape(2, 2, 8, WIDTH), stop=["<end>"])


def files_of(bundle: Bundle) -> OnnxFiles:
    language = bundle.manifest.language
    return OnnxFiles(
        bundle.model(onnx_language(language).embedding),
        bundle.model(onnx_language(language).decoder),
        open_tokenizer(bundle),
    )
