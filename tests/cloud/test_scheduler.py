"""The loop that decodes, where a run of the model fails: on real graphs."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from saccade.bundle import Bundle
from saccade.errors import EngineError, SaccadeError
from saccade_cloud.assemble import decoder_shape, onnx_language
from saccade_cloud.engines.base import EngineLimits, GenerateParams, Prompt, TokenChunk
from saccade_cloud.engines.batch import Batch
from saccade_cloud.engines.decoder import Decoder
from saccade_cloud.engines.kv import Cache
from saccade_cloud.engines.prefixes import PrefixCaches
from saccade_cloud.engines.request import Request
from saccade_cloud.engines.sampling import Decoded
from saccade_cloud.engines.scheduler import Scheduler
from saccade_cloud.tokenizer_file import open_tokenizer
from saccade_testing.engine_contract import joined


class Failing(Batch[Cache]):
    """Real, but its steps fail while ``broken`` is set, and its cache is damaged then."""

    broken = False

    def step(self) -> list[Decoded]:
        if self.broken:
            self._cache = Cache((), np.zeros(0, np.int64), np.zeros((0, 2, 0), np.int64))
            raise EngineError("decoder.onnx failed")
        return super().step()


class Answers:
    """What a request was told."""

    def __init__(self) -> None:
        self.said: list[TokenChunk | SaccadeError] = []
        self.ended = threading.Event()

    def __call__(self, item: TokenChunk | SaccadeError) -> None:
        self.said.append(item)
        if isinstance(item, SaccadeError) or item.finish:
            self.ended.set()


def prompt(width: int) -> Prompt:
    return joined((1,), np.ones((5, width), np.float32), (5, 6))


@pytest.fixture
def batch(bundle: Bundle) -> Failing:
    language = bundle.manifest.language
    onnx, shape = onnx_language(language), decoder_shape(language)
    embedding, decoder = (bundle.model(name) for name in (onnx.embedding, onnx.decoder))
    return Failing(Decoder(embedding, decoder, shape, 1), PrefixCaches(0))


def test_rows_leave_the_batch_after_a_failed_step_and_the_next_question_is_answered(
    bundle: Bundle, batch: Failing
) -> None:
    language = bundle.manifest.language
    tokenizer = open_tokenizer(bundle)
    limits = EngineLimits(max_batch=2)
    scheduler = Scheduler(batch, tokenizer, (), limits)  # no end token: answers go to the end
    thread = threading.Thread(target=scheduler.run)
    batch.broken = True
    failed = [Answers() for _ in range(3)]
    for number, each in enumerate(failed):
        client = f"client-{number}"
        scheduler.submit(Request(prompt(language.width), GenerateParams(8, client=client), each))
    thread.start()
    for each in failed:
        assert each.ended.wait(10)
        assert isinstance(each.said[-1], EngineError)
    deadline_s = time.monotonic() + 10
    while len(batch) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert batch.requests == []
    batch.broken = False
    later = [Answers() for _ in range(3)]
    for each in later:
        scheduler.submit(Request(prompt(language.width), GenerateParams(8), each))
    for each in later:
        assert each.ended.wait(10)
        assert len(each.said) == 8
    scheduler.close()
    thread.join()
    assert sum(isinstance(item, EngineError) for each in failed for item in each.said) == 3
