"""From a picture to the packet that carries it, in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from saccade import codecs
from saccade.bundle import Bundle
from saccade.client.base import Picture
from saccade.client.installed_halves import EncodeOptions, PictureEncoder, open_encoder
from saccade.client.pictures import plain
from saccade.codecs import Codecs
from saccade.limits import Limits, check
from saccade.packet import pack
from saccade.question_rules import QuestionRules, check_max_tokens, crops_of
from saccade.types import FrameTokens, Timing
from saccade.v1 import tokens_pb2

EPOCH_UNIX_MS = 0  # a single picture opens no session from which to count


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """An encoded picture. ``timing``: the edge's stages."""

    tokens: FrameTokens
    packet: tokens_pb2.FramePacket
    timing: Timing


class PacketEncoder:
    """Opens the bundle and its models when the first picture comes. Safe from several threads."""

    def __init__(self, bundle: str | Path | Bundle, options: EncodeOptions) -> None:
        self._named = bundle
        self._options = options
        self._encoder: PictureEncoder | None = None
        self._opened: Bundle | None = bundle if isinstance(bundle, Bundle) else None
        self._codecs: Codecs | None = None
        self._lock = Lock()

    @property
    def bundle(self) -> Bundle:
        """Raises ``BundleError``."""
        if self._opened is None:
            self._opened = Bundle.open(self._named)  # type: ignore[arg-type]  # not a Bundle here
        return self._opened

    @property
    def codecs(self) -> Codecs:
        """The bundle's. Raises ``BundleError``."""
        if self._codecs is None:
            self._codecs = codecs.of(self.bundle)
        return self._codecs

    def asked(self, image: Picture, question: str, max_tokens: int = 0) -> EncodedPicture:
        """A picture that a question is asked about.

        Raises ``QuestionError`` (``UnknownWords``, ``NotInFrame``) for one that the cloud would
        refuse, ``ConfigError`` where the edge's half is missing, ``BundleError``, ``SourceError``
        for what is no usable picture, ``LimitExceeded``.
        """
        rules = QuestionRules.of(self.bundle.manifest)
        rules.check(question)
        check_max_tokens(max_tokens)
        seen = self.see(image)
        # The labels of the crops stay here, so this side can say more than the cloud could.
        rules.check_crops(question, crops_of(seen.tokens.views))
        return seen

    def see(self, image: Picture) -> EncodedPicture:
        """Raises as ``asked`` does, questions apart."""
        with self._lock:
            if self._encoder is None:
                self._encoder = open_encoder(self.bundle, self._options)
            tokens, timing = self._encoder.encode(plain(image))
            started = time.perf_counter()
            packet = pack(
                tokens,
                self._encoder.codec,
                epoch_unix_ms=EPOCH_UNIX_MS,
                codecs=self.codecs,
                layers=self._encoder.layers,
            )
            code_ms = (time.perf_counter() - started) * 1e3
        limit = Limits.of(self.bundle.manifest).message_bytes
        check("bytes in a packet", packet.ByteSize(), limit)
        return EncodedPicture(tokens, packet, Timing(timing.stages | {"code": code_ms}))
