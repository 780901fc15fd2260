"""From a picture to the packet that carries it, in this process."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from saccade import codecs
from saccade.bundle import Bundle, named_or_demo
from saccade.client.base import Picture, Pictures
from saccade.client.installed_halves import EncodeOptions, PictureEncoder, open_encoder
from saccade.client.pictures import plain
from saccade.codecs import Codecs
from saccade.errors import QuestionError
from saccade.limits import Limits, check
from saccade.packet import pack
from saccade.question_rules import QuestionRules, crops_of
from saccade.turns import Question, as_question, asking
from saccade.types import FrameTokens, Timing
from saccade.v1 import tokens_pb2

EPOCH_UNIX_MS = 0  # a single picture opens no session from which to count


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """An encoded picture. ``timing``: the edge's stages."""

    tokens: FrameTokens
    packet: tokens_pb2.FramePacket
    timing: Timing


@dataclass(frozen=True, slots=True)
class EncodedQuestion:
    """A question and the pictures that it speaks of, numbered from 1 on."""

    question: Question
    pictures: tuple[EncodedPicture, ...]

    @property
    def packet_bytes(self) -> int:
        """Of all pictures."""
        return sum(picture.packet.ByteSize() for picture in self.pictures)

    @property
    def about(self) -> FrameTokens:
        """The last picture's, which the answer names."""
        return self.pictures[-1].tokens

    @property
    def timing(self) -> Timing:
        """The edge's stages, of all pictures together."""
        stages: dict[str, float] = {}
        for picture in self.pictures:
            for stage, ms in picture.timing.stages.items():
                stages[stage] = stages.get(stage, 0.0) + ms
        return Timing(stages)


class PacketEncoder:
    """Opens the bundle and its models when the first picture comes. Safe from several threads."""

    def __init__(self, bundle: str | Path | Bundle | None, options: EncodeOptions) -> None:
        self._named = None if isinstance(bundle, Bundle) else bundle
        self._options = options
        self._encoder: PictureEncoder | None = None
        self._opened: Bundle | None = bundle if isinstance(bundle, Bundle) else None
        self._codecs: Codecs | None = None
        self._lock = Lock()

    @property
    def bundle(self) -> Bundle:
        """Raises ``BundleError``."""
        if self._opened is None:
            self._opened = Bundle.open(named_or_demo(self._named))
        return self._opened

    @property
    def codecs(self) -> Codecs:
        """The bundle's. Raises ``BundleError``."""
        if self._codecs is None:
            self._codecs = codecs.of(self.bundle)
        return self._codecs

    def encode_for_question(
        self, images: Pictures, question: Question | str, max_tokens: int = 0
    ) -> EncodedQuestion:
        """Pictures that a question is asked about.

        Raises ``QuestionError`` (``UnknownWords``, ``NotInFrame``) for one that the cloud would
        refuse, ``ConfigError`` where the edge's half is missing, ``BundleError``, ``SourceError``
        for what is no usable picture, ``LimitExceeded``.
        """
        given = images if isinstance(images, (list, tuple)) else (images,)
        check("pictures", len(given), Limits().question_frames)
        asked = numbered(question, len(given)).within(max_tokens)
        rules = QuestionRules.of(self.bundle.manifest)
        rules.check(asked)
        encoded = tuple(self.encode(image, number) for number, image in enumerate(given, 1))
        # The labels of the crops stay here, so this side can say more than the cloud could.
        rules.check_crops(asked, crops_of(encoded[-1].tokens.views))
        return EncodedQuestion(asked, encoded)

    def encode(self, image: Picture, sequence: int = 1) -> EncodedPicture:
        """Raises as ``encode_for_question`` does, questions apart."""
        with self._lock:
            if self._encoder is None:
                self._encoder = open_encoder(self.bundle, self._options)
            tokens, timing = self._encoder.encode(plain(image))
            tokens = replace(tokens, sequence=sequence)
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


def numbered(question: Question | str, pictures: int) -> Question:
    """About pictures 1, 2, ...; where it names none, about all, before what is said last.

    Raises ``QuestionError`` for one that names a picture that did not come along.
    """
    asked = as_question(question)
    if isinstance(question, str):
        asked = asking(question, tuple(range(1, pictures + 1)))
    asked = asked.with_frames(*range(1, pictures + 1)).at_hand(1)
    beyond = [number for number in asked.frames if number > pictures]
    if beyond or not pictures:
        number = max(beyond, default=1)
        raise QuestionError(f"the question speaks of picture {number}, there are {pictures}")
    return asked
