"""From a bundle to the parts that serve it. Everything here raises ``BundleError``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from saccade import codecs
from saccade.bundle import Bundle
from saccade.errors import BundleError
from saccade.limits import Limits
from saccade.manifest import Manifest
from saccade.question_rules import QuestionRules
from saccade.spec import LanguageSpec, OnnxLanguage
from saccade.types import F32
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.answer_service import AnswerService
from saccade_cloud.answering import Answerer
from saccade_cloud.chat_template import MAX_TEMPLATE_BYTES, ChatTemplate
from saccade_cloud.cloud_context import CloudContext, ServedBundle, ServedBundles
from saccade_cloud.engines import registry
from saccade_cloud.engines.base import Engine, EngineLimits, Needs
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import PREFIX_BYTES, OnnxEngine, OnnxFiles
from saccade_cloud.frame_cache import FrameCache
from saccade_cloud.frame_decoder import FrameDecoder
from saccade_cloud.frame_reader import FrameReader
from saccade_cloud.memory_frames import MemoryFrames
from saccade_cloud.packet_keys import PacketKeys
from saccade_cloud.prompt import PromptBuilder, PromptFiles
from saccade_cloud.reconstruct import Projectors, Reconstructor
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
    language, prompt = bundle.manifest.language, bundle.manifest.prompt
    onnx = onnx_language(language)
    return OnnxEngine(
        OnnxFiles(
            embedding=bundle.model(onnx.embedding),
            decoder=bundle.model(onnx.decoder),
            tokenizer=open_tokenizer(bundle),
        ),
        decoder_shape(language),
        stop=prompt.stop,
        limits=replace(
            limits or EngineLimits(),
            max_tokens=language.max_tokens,
            max_context=language.max_context,
        ),
        threads=threads,
        prefix_bytes=prefix_bytes,
    )


def onnx_language(language: LanguageSpec) -> OnnxLanguage:
    """The files of the language model. Raises ``BundleError`` where the bundle has none."""
    if language.onnx is None:
        raise BundleError(
            "the bundle has no language model as ONNX files: choose the engine transformers, and "
            "the checkpoint that it was exported from"
        )
    return language.onnx


def decoder_shape(language: LanguageSpec) -> DecoderShape:
    """Of the caches between its steps."""
    onnx = onnx_language(language)
    return DecoderShape(onnx.layers, onnx.kv_heads, onnx.head_dim, language.width)


def open_answerer(bundle: Bundle, engine: Engine) -> Answerer:
    """The bundle's projector and template before ``engine``, which it then owns."""
    manifest = bundle.manifest
    check_engine(bundle, engine)
    projectors = Projectors.of(manifest.language, manifest.encoder.tokens, bundle.model)
    return Answerer(
        Reconstructor(projectors, Limits.of(manifest)),
        open_prompts(bundle),
        engine,
    )


def open_prompts(bundle: Bundle) -> PromptBuilder:
    """What makes prompts of a bundle's frames and questions about them."""
    manifest = bundle.manifest
    prompt, width = manifest.prompt, manifest.language.width
    template = bundle.read(prompt.chat_template, MAX_TEMPLATE_BYTES)
    files = PromptFiles(
        tokenizer=open_tokenizer(bundle),
        template=ChatTemplate(template, prompt.template_args),
        vectors={name: _vector(bundle, file, width) for name, file in prompt.vectors.items()},
    )
    return PromptBuilder(files, prompt, QuestionRules.of(manifest))


def needs_of(manifest: Manifest) -> Needs:
    """What a bundle's prompts ask of an engine."""
    prompt = manifest.prompt
    mrope = prompt.positions != "sequential"
    return Needs(
        explicit_positions=mrope or prompt.pruned_positions == "true",
        mrope=mrope,
        members=prompt.members > 1,
        deepstack=manifest.encoder.tokens.deepstack > 0,
        bidirectional=prompt.attention == "bidirectional",
        prefix=prompt.attention == "prefix",
    )


def check_engine(bundle: Bundle, engine: Engine) -> None:
    """Raises ``BundleError`` for an engine that cannot do what the bundle needs."""
    needs = needs_of(bundle.manifest)
    registry.check_needs(bundle, needs, engine.capabilities, type(engine).__name__)


def _vector(bundle: Bundle, file: str, width: int) -> F32:
    """A learned vector, [width] float32."""
    data = bundle.read(file, 4 * width)
    if len(data) != 4 * width:
        raise BundleError(f"{file} has {len(data)} bytes, a vector of {width} has {4 * width}")
    vector = np.frombuffer(data, "<f4").astype(np.float32)
    if not np.isfinite(vector).all():
        raise BundleError(f"{file} has numbers that are not finite")
    return vector


def memory_frames(settings: ServerSettings) -> MemoryFrames:
    """As large as the settings allow."""
    return MemoryFrames(
        settings.max_cameras,
        settings.frame_bytes,
        settings.device_frame_bytes,
        settings.quota.cameras,
    )


def open_cloud(
    bundles: Sequence[tuple[Bundle, Engine]],
    settings: ServerSettings,
    store: Store | None = None,
    keys: PacketKeys | None = None,
    decoder: FrameDecoder | None = None,
) -> CloudContext:
    """What the servicers share; call it inside the event loop that serves.

    Each bundle comes with its engine. ``store``, which the cloud then owns, keeps packets and
    observations; None keeps nothing. Raises ``ConfigError`` for two bundles whose tokens mean the
    same.
    """
    decoder, broadcast, kept = decoder or FrameDecoder(), AnswerBroadcast(), store or NoStore()
    cache = FrameCache(settings.decoded_bytes, settings.device_decoded_bytes)
    served = [
        _served(bundle, open_answerer(bundle, engine), settings, decoder, cache, kept, broadcast)
        for bundle, engine in bundles
    ]
    return CloudContext(
        bundles=ServedBundles(served),
        frames=memory_frames(settings),
        settings=settings,
        decoder=decoder,
        store=kept,
        keys=keys or PacketKeys(),
        broadcast=broadcast,
    )


def _served(
    bundle: Bundle,
    answerer: Answerer,
    settings: ServerSettings,
    decoder: FrameDecoder,
    cache: FrameCache,
    store: Store,
    broadcast: AnswerBroadcast,
) -> ServedBundle:
    manifest = bundle.manifest
    limits = replace(
        Limits.of(manifest),
        context_tokens=answerer.limits.max_context,
        answer_tokens=answerer.limits.max_tokens,
    )
    reader = FrameReader(limits, codecs.of(bundle), answerer.check_frame, decoder, cache)
    answers = AnswerService(
        answerer,
        reader,
        engine=manifest.digest,  # of the language model's weights, too
        store=store,
        broadcast=broadcast,
        timeout_s=settings.answer_timeout_s,
        wait_s=settings.answer_wait_s,
    )
    return ServedBundle(
        manifest.name, bundle.token_digest, manifest.domain, limits, reader, answers
    )
