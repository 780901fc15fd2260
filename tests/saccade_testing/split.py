"""The split path of an imported family over real gRPC: edge encoder, packet, cloud, engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from saccade import codecs
from saccade.bundle import Bundle
from saccade.client.installed_halves import EncodeOptions
from saccade.packet import pack
from saccade.turns import Generation, Question
from saccade.types import FrameTokens
from saccade.v1 import vision_pb2 as pb
from saccade_cloud.engines.base import (
    Capabilities,
    Engine,
    EngineLimits,
    GenerateParams,
    Prompt,
    TokenChunk,
)
from saccade_cloud.engines.registry import EngineOptions
from saccade_cloud.engines.transformers_engine.factory import FACTORY
from saccade_edge.image_encoder import ImageEncoder
from saccade_edge.onnx_model import RuntimeSettings
from saccade_edge.plan import PipelineSettings
from saccade_edge.preprocess import tiles
from saccade_export.hf_export import HfExportSettings, export
from saccade_testing.cloud_server import Served, hello, serving
from saccade_testing.parity import STEPS, Families, Told
from saccade_testing.reference_model import Picture

BOOTS = itertools.count(1)  # no two frames have one identity
ALL = "uniform"  # of all tokens every method keeps all


class RecordingEngine:
    """An engine that keeps what it was asked and what it said."""

    def __init__(self, engine: Engine) -> None:
        self.engine: Any = engine
        self.asked: list[tuple[Prompt, list[int]]] = []

    @property
    def limits(self) -> EngineLimits:
        limits: EngineLimits = self.engine.limits
        return limits

    @property
    def capabilities(self) -> Capabilities:
        found: Capabilities = self.engine.capabilities
        return found

    async def generate(
        self, prompt: Prompt, params: GenerateParams
    ) -> AsyncGenerator[TokenChunk, None]:
        ids: list[int] = []
        self.asked.append((prompt, ids))
        async with aclosing(self.engine.generate(prompt, params)) as chunks:
            async for chunk in chunks:
                ids += chunk.ids
                yield chunk

    async def close(self) -> None:
        await self.engine.close()


@dataclass
class SplitFamilies:
    """Exports each family's checkpoint once."""

    families: Families
    _bundles: dict[tuple[str, torch.dtype], Bundle] = field(default_factory=dict)
    _encoders: dict[tuple[str, PipelineSettings], ImageEncoder] = field(default_factory=dict)

    def bundle(self, family: str, dtype: torch.dtype = torch.float32) -> Bundle:
        if (family, dtype) not in self._bundles:
            checkpoint = self.families.checkpoint(family, dtype)
            out = Path(f"{checkpoint}-bundle")
            export(checkpoint, out, HfExportSettings(pictures=1), lambda _: None)
            self._bundles[family, dtype] = Bundle.open(out)
        return self._bundles[family, dtype]

    def encode(
        self,
        family: str,
        picture: Picture,
        *,
        method: str = ALL,
        tokens: int | None = None,
        images: int | None = None,
        detector: str = "none",
        dtype: torch.dtype = torch.float32,
    ) -> FrameTokens:
        """As an edge does: ``tokens`` of a view, None: all of them."""
        bundle = self.bundle(family, dtype)
        most = bundle.manifest.encoder.geometry.most_tokens
        settings = PipelineSettings(
            EncodeOptions(
                detector=detector,
                method=method,
                tokens_per_view=most if tokens is None else tokens,
                codec="f32",
            ),
            images=images,
            runtime=RuntimeSettings(threads=1),
        )
        key = (f"{family}-{dtype}", settings)
        if key not in self._encoders:
            self._encoders[key] = ImageEncoder(bundle, settings)
        return self._encoders[key].encode(picture)[0]

    def seen(self, family: str, shown: Picture) -> Picture:
        """The picture as the whole model is given it: in a size that the bundle has a graph for,
        where the family takes any size.
        """
        encoder = self.bundle(family).manifest.encoder
        if encoder.geometry.kind != "dynamic":
            return shown
        layout = encoder.geometry.layout((shown.shape[0], shown.shape[1]))
        resized: Picture = tiles(shown, layout, encoder.preprocess)[0]
        return resized

    @asynccontextmanager
    async def serving(
        self, family: str, dtype: torch.dtype = torch.float32
    ) -> AsyncGenerator[tuple[Served, RecordingEngine], None]:
        """A cloud with the bundle and its checkpoint behind the transformers engine."""
        bundle = self.bundle(family, dtype)
        options = EngineOptions(checkpoints=(self.families.checkpoint(family, dtype),))
        engine = RecordingEngine(FACTORY.open(bundle, options))
        async with serving(bundle, engine) as served:
            yield served, engine


@dataclass(frozen=True)
class Asked:
    """A question and the frames that it names, by sequences from 1 on."""

    question: Question
    frames: tuple[FrameTokens, ...]


async def infer(served: Served, bundle: Bundle, asked: Asked, codec: str = "f32") -> str:
    """The answer's text, by ``Vision.Infer``."""
    turns, generation = asked.question.to_wire()
    packets = [
        pack(frame, codec, epoch_unix_ms=0, codecs=codecs.of(bundle)) for frame in asked.frames
    ]
    request = pb.InferRequest(
        hello=hello(bundle, cameras=["picture"], epoch_unix_ms=0, boot=next(BOOTS)),
        packets=packets,
        turns=turns,
        generation=generation,
    )
    texts = [reply.text async for reply in served.vision.Infer(request)]
    return "".join(texts)


@dataclass(frozen=True, eq=False)
class Said:
    """What an engine was asked and said. ``told``: with the scores of an expected answer."""

    prompt: Prompt
    expected: list[int]
    told: Told


def ask_all(
    split: SplitFamilies,
    family: str,
    questions: Sequence[Asked],
    expected: Callable[[int, Prompt], list[int]],
    dtype: torch.dtype = torch.float32,
) -> list[Said]:
    """Question by question, what the engine made of it. ``expected``: the answer of the whole
    model to the n-th question, given its prompt.
    """
    codec = "f16" if dtype == torch.float16 else "f32"

    async def main() -> list[Said]:
        async with split.serving(family, dtype) as (served, engine):
            for asked in questions:
                await infer(served, split.bundle(family, dtype), asked, codec)
            said = []
            for number, (prompt, ids) in enumerate(engine.asked):
                answer = expected(number, prompt)
                scores = await engine.engine.scores(prompt, answer)
                said.append(Said(prompt, answer, Told(ids, scores)))
            return said

    return asyncio.run(main())


GREEDY = Generation(max_tokens=STEPS)
