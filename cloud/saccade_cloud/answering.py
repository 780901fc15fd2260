"""From frames' tokens and a question to what an engine gets, and back to an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace

from saccade.answer_probability import mean_and_least
from saccade.errors import LimitExceeded, NotInFrame
from saccade.limits import check
from saccade.question_rules import crops_of
from saccade.turns import Question, asking
from saccade.types import Answer, FrameTokens, Timing
from saccade_cloud.engines.base import Engine, EngineLimits, GenerateParams, Prompt, TokenChunk
from saccade_cloud.frame_cache import ProjectedFrame
from saccade_cloud.prompt import PromptBuilder
from saccade_cloud.reconstruct import Reconstructor


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine gets."""

    prompt: Prompt
    params: GenerateParams


class Answerer:
    """A bundle's projector and prompt before its engine, which it owns.

    Serves one event loop. Close it to end the engine.
    """

    def __init__(self, reconstruct: Reconstructor, prompts: PromptBuilder, engine: Engine) -> None:
        self._reconstruct = reconstruct
        self._prompts = prompts
        self._engine = engine
        self._most_visual = engine.limits.max_context - prompts.least_text_tokens - 1
        self._projecting = ThreadPoolExecutor(1, thread_name_prefix="saccade-reconstruct")

    @property
    def limits(self) -> EngineLimits:
        return self._engine.limits

    def check(self, question: Question) -> None:
        """Raises ``QuestionError`` or ``LimitExceeded`` for a question that would be refused
        whatever its frames show.
        """
        self._prompts.check(question)
        asked, most = question.generation.max_tokens, self.limits.max_tokens
        if asked > most:
            raise LimitExceeded(f"asked for {asked} tokens, the engine gives 1..{most}")

    def check_frame(self, frame: FrameTokens) -> None:
        """Raises ``PacketError`` or ``LimitExceeded`` for a frame about which no question can be
        answered, however short question and answer are.
        """
        self._reconstruct.check(frame)
        check("visual tokens in a frame", frame.kept, self._most_visual)

    async def project(self, frame: FrameTokens) -> ProjectedFrame:
        """A frame in the language model's space: all that a prompt needs of it."""
        loop = asyncio.get_running_loop()
        visual = await loop.run_in_executor(self._projecting, self._reconstruct, frame)
        return ProjectedFrame(visual, crops_of(frame.views))

    def prepare(
        self, question: Question, frames: Mapping[int, ProjectedFrame], client: str = ""
    ) -> Prepared:
        """The prompt, for the engine; ``frames``: those that the question speaks of, by sequence;
        ``client``: who asks.

        Raises ``QuestionError`` (``UnknownWords``, ``NotInFrame``).
        """
        self._prompts.check_crops(question, frames[max(frames)].crops)
        visual = {sequence: frame.visual for sequence, frame in frames.items()}
        drawn = question.generation
        params = GenerateParams(
            max_tokens=drawn.max_tokens or self._engine.limits.max_tokens,
            temperature=drawn.temperature,
            top_p=drawn.top_p,
            seed=drawn.seed,
            stop=drawn.stop,
            client=client,
        )
        return Prepared(self._prompts.build(question, visual), params)

    def generate(self, prepared: Prepared) -> AsyncGenerator[TokenChunk, None]:
        """The engine's chunks. Raises what it raises."""
        return self._engine.generate(prepared.prompt, prepared.params)

    async def stream(
        self, frames: Mapping[int, FrameTokens], question: Question
    ) -> AsyncGenerator[TokenChunk, None]:
        """All of it, for one who asks alone; the last timing begins with ``reconstruct``."""
        self.check(question)
        started = time.perf_counter()
        projected = {sequence: await self.project(frames[sequence]) for sequence in question.frames}
        before = {"reconstruct": (time.perf_counter() - started) * 1e3}
        prepared = self.prepare(question, projected)
        async with aclosing(self.generate(prepared)) as chunks:
            async for chunk in chunks:
                if chunk.timing is None:
                    yield chunk
                else:
                    yield replace(chunk, timing=Timing(before | chunk.timing.stages))

    async def answer(self, frame: FrameTokens, question: str, max_tokens: int = 0) -> Answer:
        """The whole answer to a question about one frame."""
        asked = asking(question).within(max_tokens)
        texts = []
        last = TokenChunk((), "")
        async with aclosing(self.stream({0: frame}, asked)) as chunks:
            async for last in chunks:
                texts.append(last.text)
        probability, least = mean_and_least(last.probability)
        return Answer(
            text="".join(texts),
            sequence=frame.sequence,
            camera=frame.camera,
            timing=last.timing or Timing(),
            finish=last.finish or "length",
            probability=probability,
            least_probability=least,
        )

    async def text(self, frame: FrameTokens, question: str) -> str:
        """The answer's text, for measurements: a question about what the frame does not show has
        the empty one, which is never right.
        """
        try:
            return (await self.answer(frame, question)).text
        except NotInFrame:
            return ""

    async def close(self) -> None:
        """End the engine; running answers end with ``EngineError``."""
        await self._engine.close()
        self._projecting.shutdown(wait=False)
