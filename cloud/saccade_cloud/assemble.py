"""From a bundle to the parts that serve it. Everything here raises ``BundleError``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from saccade import codecs
from saccade.bundle import Bundle
from saccade.limits import Limits
from saccade.manifest import Manifest
from saccade.question_rules import QuestionRules
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.answer_service import AnswerService
from saccade_cloud.answering import Answerer
from saccade_cloud.cloud_context import CloudContext, ServedBundle, ServedBundles
from saccade_cloud.engines.base import Engine, EngineLimits, Needs
from saccade_cloud.engines.decoder import DecoderShape
from saccade_cloud.engines.onnx import PREFIX_BYTES, OnnxEngine, OnnxFiles
from saccade_cloud.frame_cache import FrameCache
from saccade_cloud.frame_decoder import FrameDecoder
from saccade_cloud.frame_reader import FrameReader
from saccade_cloud.memory_frames import MemoryFrames
from saccade_cloud.packet_keys import PacketKeys
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


def needs_of(manifest: Manifest) -> Needs:
    """What a bundle's prompts ask of an engine."""
    del manifest  # those of today's format count their positions from 0
    return Needs()


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
    decoder, board, kept = decoder or FrameDecoder(), AnswerBroadcast(), store or NoStore()
    cache = FrameCache(settings.decoded_bytes, settings.device_decoded_bytes)
    served = [
        _served(bundle, open_answerer(bundle, engine), settings, decoder, cache, kept, board)
        for bundle, engine in bundles
    ]
    return CloudContext(
        bundles=ServedBundles(served),
        frames=memory_frames(settings),
        settings=settings,
        decoder=decoder,
        store=kept,
        keys=keys or PacketKeys(),
        board=board,
    )


def _served(
    bundle: Bundle,
    answerer: Answerer,
    settings: ServerSettings,
    decoder: FrameDecoder,
    cache: FrameCache,
    store: Store,
    board: AnswerBroadcast,
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
        board=board,
        timeout_s=settings.answer_timeout_s,
        wait_s=settings.answer_wait_s,
    )
    return ServedBundle(
        manifest.name, bundle.token_digest, manifest.domain, limits, reader, answers
    )
