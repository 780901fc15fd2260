"""What the servicers of one cloud share: its bundles, its frames at hand, its store, its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from saccade.errors import ConfigError, DigestMismatch
from saccade.limits import Limits
from saccade_cloud.answer_broadcast import AnswerBroadcast
from saccade_cloud.answer_service import AnswerService
from saccade_cloud.frame_decoder import FrameDecoder
from saccade_cloud.frame_reader import FrameReader
from saccade_cloud.frame_store import FrameStore, StoredFrame
from saccade_cloud.packet_keys import PacketKeys
from saccade_cloud.quotas import Quotas
from saccade_cloud.server_settings import ServerSettings
from saccade_cloud.store.base import Store
from saccade_cloud.store.no_store import NoStore

_SHORT = 6  # bytes of a digest in messages


@dataclass(frozen=True, slots=True, eq=False)
class ServedBundle:
    """One bundle, and what answers questions about its tokens. ``token_digest``: 32 bytes;
    ``domain``: what its model was trained to see; ``limits``: its own, with its engine's.
    """

    name: str
    token_digest: bytes
    domain: str
    limits: Limits
    reader: FrameReader
    answers: AnswerService


class ServedBundles:
    """Told apart by their token digests. Raises ``ConfigError`` for two with the same."""

    def __init__(self, bundles: Sequence[ServedBundle]) -> None:
        self._bundles = {bundle.token_digest: bundle for bundle in bundles}
        if len(self._bundles) != len(bundles):
            names = ", ".join(bundle.name for bundle in bundles)
            raise ConfigError(f"two bundles have tokens of the same meaning: serve one of {names}")

    def __iter__(self) -> Iterator[ServedBundle]:
        return iter(self._bundles.values())

    def __str__(self) -> str:
        return ", ".join(f"{each.name} ({short(each.token_digest)})" for each in self)

    def of(self, token_digest: bytes) -> ServedBundle:
        """Raises ``DigestMismatch``, which says what there is."""
        found = self._bundles.get(token_digest)
        if found is None:
            raise DigestMismatch(
                f"the tokens are those of bundle {short(token_digest)}, the cloud serves {self}"
            )
        return found

    def of_frame(self, frame: StoredFrame) -> ServedBundle:
        """Raises ``DigestMismatch``."""
        return self.of(frame.tokens.hello.token_digest)

    @property
    def domain(self) -> str:
        """Empty where they differ."""
        domains = {bundle.domain for bundle in self}
        return domains.pop() if len(domains) == 1 else ""

    @property
    def message_bytes(self) -> int:
        """The most of any."""
        return max(bundle.limits.message_bytes for bundle in self)


@dataclass(frozen=True, slots=True, eq=False)
class CloudContext:
    """Serves one event loop."""

    bundles: ServedBundles
    frames: FrameStore
    settings: ServerSettings
    decoder: FrameDecoder
    store: Store = field(default_factory=NoStore)
    keys: PacketKeys = field(default_factory=PacketKeys)
    broadcast: AnswerBroadcast = field(default_factory=AnswerBroadcast)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    quotas: Quotas = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        quotas = Quotas(settings.quota, settings.streams, settings.max_cameras)
        object.__setattr__(self, "quotas", quotas)

    async def close(self) -> None:
        """End engines and threads, and let go of the disk."""
        for bundle in self.bundles:
            await bundle.answers.close()
        await self.store.close()
        self.decoder.close()


def short(digest: bytes) -> str:
    """As messages name a digest."""
    return digest[:_SHORT].hex() or "without digest"
