"""From a bundle to the parts that serve it. Everything here raises ``BundleError``."""

from __future__ import annotations

from dataclasses import replace

from saccade import codecs
from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.question_rules import QuestionRules
from saccade_cloud.answering import Answerer
from saccade_cloud.engines.base import Engine, EngineLimits
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import PREFIX_BYTES, OnnxEngine, OnnxFiles
from saccade_cloud.hub import Hub
from saccade_cloud.memory_frames import MemoryFrames
from saccade_cloud.prompt import PromptBuilder
from saccade_cloud.reconstruct import Reconstructor
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.store.base import Store
from saccade_cloud.store.no_store import NoStore
from saccade_cloud.tokenizer_file import open_tokenizer


def open_engine(
    bundle: Bundle,
    *,
    limits: EngineLimits | None = None,
    threads: int = 1,
    prefix_bytes: int = PREFIX_BYTES,
) -> OnnxEngine:
    """The embedded engine on the bundle's language model.

    The manifest sets the lengths in ``limits``; the other limits are the server's to choose.
    """
    language = bundle.manifest.language
    return OnnxEngine(
        OnnxFiles(
            embedding=bundle.model(language.embedding),
            decoder=bundle.model(language.decoder),
            tokenizer=open_tokenizer(bundle),
        ),
        DecoderShape(language.layers, language.heads, language.head_dim, language.width),
        stop=[language.eos],
        limits=replace(
            limits or EngineLimits(),
            max_tokens=language.max_tokens,
            max_context=language.max_context,
        ),
        threads=threads,
        prefix_bytes=prefix_bytes,
    )


def open_answerer(bundle: Bundle, engine: Engine) -> Answerer:
    """The bundle's projector and template before ``engine``, which it then owns."""
    language, limits = bundle.manifest.language, Limits.of(bundle.manifest)
    return Answerer(
        Reconstructor(bundle.model(language.projector), limits, language.width),
        PromptBuilder(open_tokenizer(bundle), language.template, QuestionRules.of(bundle.manifest)),
        engine,
    )


def memory_frames(settings: ServerSettings) -> MemoryFrames:
    """As large as the settings allow."""
    return MemoryFrames(
        settings.frames_per_camera,
        settings.max_cameras,
        settings.frame_bytes,
        settings.device_frame_bytes,
        settings.quota.cameras,
    )


def open_hub(
    bundle: Bundle, engine: Engine, settings: ServerSettings, store: Store | None = None
) -> Hub:
    """What the servicers of one bundle share; call it inside the event loop that serves.

    ``store``, which the hub then owns, keeps packets and observations; None keeps nothing.
    """
    return Hub(
        digest=bundle.digest,
        limits=Limits.of(bundle.manifest),
        answerer=open_answerer(bundle, engine),
        frames=memory_frames(settings),
        settings=settings,
        store=store or NoStore(),
        codecs=codecs.of(bundle),
        domain=bundle.manifest.domain,
    )
