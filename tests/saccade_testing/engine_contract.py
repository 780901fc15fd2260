"""What every engine promises; a test class per engine inherits these tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import pytest

from saccade.errors import EngineError, LimitExceeded
from saccade.types import F32, Timing
from saccade_cloud.engines.base import (
    I64,
    Engine,
    EngineLimits,
    GenerateParams,
    Prompt,
    TokenChunk,
    VisualSpan,
    text_prompt,
)
from saccade_cloud.engines.batched import BatchedEngine

T = TypeVar("T")
TOKENS = 24  # the longest answer that these tests ask for
CONTEXT = 256


class EngineContract:
    """Subclasses open an engine and state the vocabulary and the width of its model."""

    width: int
    vocab: int

    def open_engine(self, limits: EngineLimits) -> Engine:
        raise NotImplementedError

    def run(
        self,
        work: Callable[[Engine], Awaitable[T]],
        *,
        max_batch: int = 32,
        max_waiting: int = 256,
    ) -> T:
        """``work`` with an open engine, which is closed afterwards."""

        async def main() -> T:
            engine = self.open_engine(EngineLimits(TOKENS, CONTEXT, max_batch, max_waiting))
            try:
                return await work(engine)
            finally:
                await engine.close()

        return asyncio.run(main())

    def prompts(self, count: int) -> list[Prompt]:
        """Different questions about three frames of different size."""
        generator = np.random.default_rng(7)
        frames = [self.visual(generator, size) for size in (5, 40, 17)]
        return [
            joined((1,), frames[i % len(frames)], generator.integers(4, self.vocab, 2 + i % 9))
            for i in range(count)
        ]

    def visual(self, generator: np.random.Generator, count: int) -> F32:
        return generator.normal(size=(count, self.width)).astype(np.float32)

    def alone(self, prompt: Prompt) -> list[TokenChunk]:
        return self.run(lambda engine: collect(engine, prompt))

    def test_the_last_chunk_alone_says_how_it_ended_and_how_long_it_took(self) -> None:
        chunks = self.alone(self.prompts(1)[0])
        assert [chunk.finish for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert all(chunk.timing is None for chunk in chunks[:-1])
        assert chunks[-1].finish in ("stop", "length")
        timing = chunks[-1].timing
        assert timing is not None
        assert list(timing.stages) == ["queue", "prefill", "decode_tokens"]
        assert min(timing.stages.values()) >= 0

    def test_the_last_chunk_alone_says_how_probable_the_answer_is(self) -> None:
        for prompt in self.prompts(8):
            *chunks, last = self.alone(prompt)
            assert all(chunk.probability is None for chunk in chunks)
            assert last.probability is not None
            assert 0 < last.probability.least <= last.probability.mean * (1 + 1e-6)
            assert last.probability.mean <= 1

    def test_probabilities_in_a_batch_are_those_of_each_alone(self) -> None:
        prompts = self.prompts(12)

        async def together(engine: Engine) -> list[list[TokenChunk]]:
            return await asyncio.gather(*(collect(engine, prompt) for prompt in prompts))

        for prompt, chunks in zip(prompts, self.run(together), strict=True):
            expected, found = self.alone(prompt)[-1].probability, chunks[-1].probability
            assert expected is not None
            assert found is not None
            assert found.mean == pytest.approx(expected.mean, rel=1e-4)
            assert found.least == pytest.approx(expected.least, rel=1e-4)

    def test_an_answer_ends_at_the_end_token_or_at_max_tokens(self) -> None:
        async def work(engine: Engine) -> set[str | None]:
            finishes: set[str | None] = set()
            for prompt in self.prompts(40):
                chunks = await collect(engine, prompt, 5)
                count = len(ids_of(chunks))
                assert count == 5 if chunks[-1].finish == "length" else count <= 5
                finishes.add(chunks[-1].finish)
            return finishes

        assert self.run(work) >= {"length"}

    def test_questions_in_a_batch_get_the_answers_that_they_get_alone(self) -> None:
        prompts = self.prompts(50)

        async def alone(engine: Engine) -> list[tuple[str, list[int]]]:
            return [told(await collect(engine, prompt)) for prompt in prompts]

        async def together(engine: Engine) -> list[tuple[str, list[int]]]:
            chunks = await asyncio.gather(*(collect(engine, prompt) for prompt in prompts))
            return [told(answer) for answer in chunks]

        expected = self.run(alone)
        assert len(set(map(str, expected))) > 25, "the answers hardly depend on the question"
        assert self.run(together) == expected
        assert self.run(together, max_batch=3) == expected

    def test_who_joins_in_the_middle_of_an_answer_does_not_change_it(self) -> None:
        first, *others = self.prompts(8)

        async def work(engine: Engine) -> tuple[list[TokenChunk], list[list[TokenChunk]]]:
            seen: list[TokenChunk] = []
            joined: list[asyncio.Task[list[TokenChunk]]] = []
            async with aclosing(engine.generate(first, GenerateParams(TOKENS))) as chunks:
                async for chunk in chunks:
                    seen.append(chunk)
                    if len(joined) < len(others):
                        joined.append(asyncio.create_task(collect(engine, others[len(joined)])))
            return seen, await asyncio.gather(*joined)

        seen, joined = self.run(work)
        prompts = [first, *others[: len(joined)]]
        expected = [self.alone(prompt) for prompt in prompts]
        assert [told(c) for c in (seen, *joined)] == [told(c) for c in expected]

    def test_closing_an_answer_frees_its_place(self) -> None:
        async def work(engine: Engine) -> str:
            left = engine.generate(self.prompts(1)[0], GenerateParams(TOKENS))
            await anext(left)
            await left.aclose()
            return told(await asyncio.wait_for(collect(engine, self.prompts(2)[1]), 10))[0]

        assert self.run(work, max_batch=1) == told(self.alone(self.prompts(2)[1]))[0]

    def test_a_cancelled_question_never_takes_a_place(self) -> None:
        """The last one waits for the first alone, and not for those that were cancelled."""
        prompts = self.prompts(9)

        async def work(engine: Engine) -> list[Timing]:
            waiting = [asyncio.create_task(collect(engine, p)) for p in prompts]
            await asyncio.sleep(0)
            for task in waiting[1:8]:
                task.cancel()
            answers = [await asyncio.wait_for(waiting[i], 10) for i in (0, 8)]
            return [timing for chunks in answers if (timing := chunks[-1].timing)]

        first, last = self.run(work, max_batch=1)
        worked_ms = first.stages["prefill"] + first.stages["decode_tokens"]
        assert last.stages["queue"] < 2.5 * (first.stages["queue"] + worked_ms) + 5

    def test_a_client_with_many_questions_keeps_another_waiting_for_few_of_them(self) -> None:
        *many, one = self.prompts(41)
        ended: list[str] = []

        async def ask(engine: Engine, prompt: Prompt, client: str) -> None:
            await collect(engine, prompt, TOKENS, client)
            ended.append(client)

        async def work(engine: Engine) -> None:
            greedy = [asyncio.create_task(ask(engine, each, "greedy")) for each in many]
            await asyncio.wait(greedy, return_when=asyncio.FIRST_COMPLETED)
            await ask(engine, one, "honest")
            await asyncio.gather(*greedy)

        self.run(work, max_batch=2)
        assert ended.index("honest") < 15

    def test_a_slow_reader_delays_nobody(self) -> None:
        slow, quick = self.prompts(2)

        async def work(engine: Engine) -> list[TokenChunk]:
            answer = engine.generate(slow, GenerateParams(TOKENS))
            first = await anext(answer)
            await asyncio.wait_for(collect(engine, quick), 10)
            return [first, *[chunk async for chunk in answer]]

        assert told(self.run(work, max_batch=2)) == told(self.alone(slow))

    def test_the_same_seed_draws_the_same_answer_also_in_a_batch(self) -> None:
        prompts = self.prompts(12)

        async def together(engine: Engine) -> list[list[TokenChunk]]:
            return await asyncio.gather(
                *(self.drawn(engine, prompt, seed) for seed, prompt in enumerate(prompts))
            )

        answers = [told(chunks) for chunks in self.run(together)]
        for seed, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            assert told(self.run(partial(self.drawn, prompt=prompt, seed=seed))) == answer

    def test_another_seed_draws_another_answer(self) -> None:
        prompt = self.prompts(1)[0]

        async def work(engine: Engine) -> set[str]:
            answers = [await self.drawn(engine, prompt, seed) for seed in range(6)]
            return {str(told(answer)) for answer in answers}

        assert len(self.run(work)) > 3

    def test_the_least_top_p_draws_the_most_probable_token(self) -> None:
        prompt = self.prompts(1)[0]
        params = GenerateParams(TOKENS, temperature=2.0, top_p=1e-9, seed=5)
        drawn = self.run(lambda engine: collected(engine, prompt, params))
        assert told(drawn) == told(self.alone(prompt))

    async def drawn(self, engine: Engine, prompt: Prompt, seed: int) -> list[TokenChunk]:
        params = GenerateParams(8, temperature=8.0, top_p=0.95, seed=seed)
        return await collected(engine, prompt, params)

    def test_a_stop_text_ends_the_answer_and_is_not_shown(self) -> None:
        stopped = 0
        for prompt in self.prompts(10):
            text, _ = told(self.alone(prompt))
            stop = text[len(text) // 2 :][:3]
            if not stop:
                continue
            params = GenerateParams(TOKENS, stop=("never there", stop))
            chunks = self.run(partial(collected, prompt=prompt, params=params))
            assert told(chunks)[0] == text[: text.index(stop)]
            assert chunks[-1].finish == "stop"
            stopped += 1
        assert stopped > 3

    def test_a_stop_text_that_does_not_come_changes_nothing(self) -> None:
        for prompt in self.prompts(5):
            text, ids = told(self.alone(prompt))
            params = GenerateParams(TOKENS, stop=(text + "\u2603", text[-2:] + "\u2603"))
            chunks = self.run(partial(collected, prompt=prompt, params=params))
            assert told(chunks) == (text, ids)

    @pytest.mark.parametrize(
        "params",
        [
            GenerateParams(4, temperature=-0.1),
            GenerateParams(4, temperature=float("nan")),
            GenerateParams(4, temperature=float("inf")),
            GenerateParams(4, top_p=0.0),
            GenerateParams(4, top_p=1.01),
            GenerateParams(4, seed=-1),
            GenerateParams(4, stop=("a",) * 17),
            GenerateParams(4, stop=("a" * 257,)),
        ],
    )
    def test_impossible_parameters_are_refused(self, params: GenerateParams) -> None:
        with pytest.raises(LimitExceeded):
            self.run(lambda engine: collected(engine, self.prompts(1)[0], params))

    @pytest.mark.parametrize("name", ["mrope", "deepstack", "bidirectional", "prefix"])
    def test_what_a_prompt_asks_for_is_done_or_refused(self, name: str) -> None:
        plain = self.prompts(1)[0]
        asking = self.asking(plain, name)

        async def work(engine: Engine) -> None:
            if not getattr(engine.capabilities, name):
                with pytest.raises(EngineError, match=name):
                    await collect(engine, asking)
                return
            before, after = await collect(engine, plain), await collect(engine, asking)
            assert before[-1].probability != after[-1].probability

        self.run(work)

    def asking(self, prompt: Prompt, name: str) -> Prompt:
        """The same prompt with something that an engine may not be able to do, and that matters."""
        if name == "mrope":
            rows = np.arange(len(prompt)) * np.array([[1], [2], [3]])
            return replace(prompt, positions=rows, next_position=3 * len(prompt))
        if name == "prefix":
            return replace(prompt, prefix_attention=True, shared=0)
        deepstack = np.full((1, *prompt.spans[0].embeds.shape), 2.0, np.float32)
        more = {"bidirectional": True} if name == "bidirectional" else {"deepstack": deepstack}
        return replace(prompt, spans=tuple(replace(span, **more) for span in prompt.spans))

    def test_pruned_places_are_gaps_in_the_positions(self) -> None:
        whole = self.prompts(2)[1]
        gap = whole.shared - 3
        positions = whole.positions + 7 * (np.arange(len(whole)) >= gap)
        pruned = replace(whole, positions=positions, next_position=whole.next_position + 7)
        answers = [self.alone(prompt)[-1].probability for prompt in (whole, pruned)]
        assert answers[0] != answers[1]

    def test_scores_of_a_continuation_are_those_that_it_was_decoded_from(self) -> None:
        async def work(engine: Engine) -> int:
            assert isinstance(engine, BatchedEngine)
            answers = [(p, await collect(engine, p)) for p in self.prompts(8)]
            answered = [(p, chunks, ids_of(chunks)) for p, chunks in answers if ids_of(chunks)]
            for prompt, chunks, ids in answered:
                scores = await engine.scores(prompt, ids)
                assert scores.argmax(axis=-1).tolist() == ids
                below = scores - scores.max(axis=-1, keepdims=True)
                logs = -np.log(np.exp(below).sum(axis=-1))
                assert chunks[-1].probability is not None
                if chunks[-1].finish == "length":
                    least = float(np.exp(logs.min()))
                    assert chunks[-1].probability.least == pytest.approx(least, rel=1e-4)
            return len(answered)

        assert self.run(work) > 3

    @pytest.mark.parametrize("max_tokens", [0, -1, TOKENS + 1])
    def test_more_tokens_than_allowed_are_refused(self, max_tokens: int) -> None:
        with pytest.raises(LimitExceeded, match=rf"{max_tokens}.*{TOKENS}"):
            self.run(lambda engine: collect(engine, self.prompts(1)[0], max_tokens))

    def test_a_prompt_beyond_the_context_is_refused(self) -> None:
        prompt = joined((), self.visual(np.random.default_rng(0), CONTEXT), ())
        with pytest.raises(LimitExceeded, match=f"{CONTEXT}"):
            self.alone(prompt)

    def test_the_longest_prompt_allowed_is_answered(self) -> None:
        prompt = joined((), self.visual(np.random.default_rng(0), CONTEXT - TOKENS), ())
        assert self.alone(prompt)

    def test_a_prompt_of_nothing_is_refused(self) -> None:
        with pytest.raises(LimitExceeded):
            self.alone(text_prompt(()))

    def test_a_full_queue_refuses_at_once(self) -> None:
        async def work(engine: Engine) -> list[BaseException]:
            outcomes = await asyncio.gather(
                *(collect(engine, prompt) for prompt in self.prompts(30)), return_exceptions=True
            )
            return [outcome for outcome in outcomes if isinstance(outcome, BaseException)]

        refused = self.run(work, max_batch=1, max_waiting=2)
        assert refused
        assert all(isinstance(error, LimitExceeded) for error in refused)
        assert "2" in str(refused[0])

    def test_a_closed_engine_refuses(self) -> None:
        async def work(engine: Engine) -> None:
            await engine.close()
            await engine.close()
            await collect(engine, self.prompts(1)[0])

        with pytest.raises(EngineError, match="closed"):
            self.run(work)

    def test_closing_ends_running_and_waiting_answers_with_an_error(self) -> None:
        async def work(engine: Engine) -> list[BaseException | list[TokenChunk]]:
            tasks = [asyncio.create_task(collect(engine, p)) for p in self.prompts(20)]
            await asyncio.sleep(0)
            await engine.close()
            return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

        outcomes = self.run(work, max_batch=1)
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert failed
        assert all(isinstance(error, EngineError) for error in failed)


def joined(before: Sequence[int], embeds: F32, after: Sequence[int] | I64) -> Prompt:
    """Text, visual tokens, text; what stands before ``after`` is shared."""
    visual = [0] * len(embeds)
    ids = np.array([*before, *visual, *after], np.int64)
    return Prompt(
        ids,
        np.arange(len(ids))[None],
        len(ids),
        (VisualSpan(len(before), embeds),),
        shared=len(before) + len(embeds),
    )


async def collect(
    engine: Engine, prompt: Prompt, max_tokens: int = TOKENS, client: str = ""
) -> list[TokenChunk]:
    return await collected(engine, prompt, GenerateParams(max_tokens, client=client))


async def collected(engine: Engine, prompt: Prompt, params: GenerateParams) -> list[TokenChunk]:
    async with aclosing(engine.generate(prompt, params)) as chunks:
        return [chunk async for chunk in chunks]


def ids_of(chunks: list[TokenChunk]) -> list[int]:
    return [token for chunk in chunks for token in chunk.ids]


def told(chunks: list[TokenChunk]) -> tuple[str, list[int]]:
    """The answer's text and token ids."""
    return "".join(chunk.text for chunk in chunks), ids_of(chunks)
