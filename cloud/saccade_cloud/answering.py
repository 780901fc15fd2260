"""From a frame's tokens and a question to a streamed answer: reconstruct, prompt, generate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace

from saccade.answer_probability import mean_and_least
from saccade.errors import NotInFrame
from saccade.limits import check
from saccade.question_rules import crops_of
from saccade.turns import asking
from saccade.types import Answer, FrameTokens, Timing
from saccade_cloud.engines.base import Engine, EngineLimits, GenerateParams, Prompt, TokenChunk
from saccade_cloud.prompt import PromptBuilder
from saccade_cloud.reconstruct import Reconstructor
from saccade_cloud.visual_frame import VisualFrame


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the engine gets."""

    prompt: Prompt
    params: GenerateParams
    reconstruct_ms: float


class Answerer:
    """The cloud's mind: everything between a decoded packet and an answer's text.

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

    def check_question(self, question: str) -> None:
        """Raises ``QuestionError`` for a question that ``stream`` would refuse."""
        self._prompts.check(question)

    def check_frame(self, frame: FrameTokens) -> None:
        """Raises ``PacketError`` or ``LimitExceeded`` for a frame about which no question can be
        answered, however short question and answer are.
        """
        self._reconstruct.check(frame)
        check("visual tokens in a frame", frame.kept, self._most_visual)

    async def stream(
        self, frame: FrameTokens, question: str, max_tokens: int = 0
    ) -> AsyncGenerator[TokenChunk, None]:
        """``prepare``, then ``generate``."""
        prepared = await self.prepare(frame, question, max_tokens)
        async with aclosing(self.generate(prepared)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def prepare(
        self, frame: FrameTokens, question: str, max_tokens: int = 0, client: str = ""
    ) -> Prepared:
        """The prompt, for the engine. ``max_tokens`` 0 is the engine's maximum; ``client``: who
        asks.

        Raises ``QuestionError`` (``UnknownWords``, ``NotInFrame``) before anything is computed.
        """
        self.check_question(question)
        self._prompts.check_crops(question, crops_of(frame.views))
        started = time.perf_counter()
        visual = await self._visual(frame)
        reconstruct_ms = (time.perf_counter() - started) * 1e3
        prompt = self._prompts.build(asking(question), {0: visual})
        params = GenerateParams(max_tokens or self._engine.limits.max_tokens, client=client)
        return Prepared(prompt, params, reconstruct_ms)

    async def generate(self, prepared: Prepared) -> AsyncGenerator[TokenChunk, None]:
        """The answer's chunks; the last one's timing begins with ``reconstruct``. Raises what the
        engine raises.
        """
        answer = self._engine.generate(prepared.prompt, prepared.params)
        async with aclosing(answer) as chunks:
            async for chunk in chunks:
                yield _with_stages(chunk, {"reconstruct": prepared.reconstruct_ms})

    async def answer(self, frame: FrameTokens, question: str, max_tokens: int = 0) -> Answer:
        """The whole answer at once."""
        texts = []
        last = TokenChunk((), "")
        async with aclosing(self.stream(frame, question, max_tokens)) as chunks:
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

    async def _visual(self, frame: FrameTokens) -> VisualFrame:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._projecting, self._reconstruct, frame)


def _with_stages(chunk: TokenChunk, before: dict[str, float]) -> TokenChunk:
    if chunk.timing is None:
        return chunk
    return replace(chunk, timing=Timing(before | chunk.timing.stages))
