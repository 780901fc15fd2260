"""Frames from a source, looked at, in one thread of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from saccade.types import Frame
from saccade_edge.pipeline import FrameResult, Pipeline
from saccade_edge.plan import Plan
from saccade_edge.source import FrameError, Source


@dataclass(frozen=True, slots=True)
class TakenFrame:
    """``since_s``: monotonic time at which the frame came from its source."""

    frame: Frame
    since_s: float


class FrameThread:
    """Owns ``source``: close the feed. For one caller at a time.

    ``number`` gives frames other numbers than their source's, which begins anew in every run.
    """

    def __init__(
        self, source: Source, pipeline: Pipeline, number: Callable[[], int] | None = None
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._number = number
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saccade-frames")

    async def next(self) -> TakenFrame | None:
        """The next frame, None after the last. Raises what the source raises: after `FrameError`
        there may be more frames.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._take)

    async def process(self, frame: Frame, plan: Plan | None) -> FrameResult:
        """A frame's outcome, see `Pipeline.process`. Raises what its stages raise."""
        processing = partial(self._pipeline.process, frame, plan=plan)
        return await asyncio.get_running_loop().run_in_executor(self._thread, processing)

    @property
    def stage(self) -> str:
        """Where the last `look` came to."""
        return self._pipeline.stage

    async def close(self) -> None:
        """End the source and the thread, also where it waits for a frame."""
        # Not in the event loop: closing waits a little for a read that is under way.
        await asyncio.to_thread(self._source.close)
        await asyncio.to_thread(self._thread.shutdown)

    def _take(self) -> TakenFrame | None:
        try:
            frame = next(self._source, None)
        except FrameError as error:
            if self._number is None:
                raise
            raise FrameError(error.message, self._number(), error.name) from error
        if frame is None:
            return None
        if self._number is not None:
            frame = replace(frame, sequence=self._number())
        return TakenFrame(frame, time.monotonic())
