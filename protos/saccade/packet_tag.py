"""The keyed tag of a packet: it outlives whoever ends TLS between the device and the cloud.

HMAC-SHA256 (RFC 2104) with the device's own key, of which the first 8 bytes travel, over

- ``saccade packet tag 1`` and a zero byte, so that the key's tags are good for nothing else;
- what the session says of all its packets, each text with its length before it: device, boot,
  epoch, cameras, token digest. Without them a time, a camera or a bundle could be exchanged;
- the packet as it is serialised, in the order of its fields' numbers and without its tag. Fields
  that this version does not know are left out, as they are wherever a packet is kept.

Eight bytes: whoever guesses is right once in 2**64 packets, each of which has to be sent, and is
counted where it is refused (NIST SP 800-107 rev. 1, 5.3.4, asks for 32 bits at the least).
"""

from __future__ import annotations

import hmac
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from saccade.errors import ConfigError, TagError
from saccade.v1 import tokens_pb2

TAG_BYTES = 8
KEY_BYTES = 32
MAX_KEY_FILE_BYTES = 1024
_DOMAIN = b"saccade packet tag 1\0"


@dataclass(frozen=True, slots=True)
class SignedSession:
    """What a hello says that gives its packets their meaning. ``boot`` and ``epoch_unix_ms`` are
    unsigned 64 bits.
    """

    device: str
    boot: int
    epoch_unix_ms: int
    cameras: Sequence[str]
    token_digest: bytes

    def to_bytes(self) -> bytes:
        """No two sessions have the same."""
        texts = [self.device.encode(), self.token_digest, *(name.encode() for name in self.cameras)]
        sealed = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        return struct.pack("<QQI", self.boot, self.epoch_unix_ms, len(self.cameras)) + sealed


def tag_of(packet: tokens_pb2.FramePacket, session: SignedSession, key: bytes) -> bytes:
    """The tag that ``packet`` has in ``session``, whatever tag it carries."""
    plain = tokens_pb2.FramePacket()
    plain.CopyFrom(packet)
    plain.ClearField("tag")
    plain.DiscardUnknownFields()  # type: ignore[attr-defined] # the stubs leave it out
    said = _DOMAIN + session.to_bytes() + plain.SerializeToString(deterministic=True)
    return hmac.digest(key, said, "sha256")[:TAG_BYTES]


def check_tag(packet: tokens_pb2.FramePacket, session: SignedSession, key: bytes) -> None:
    """Raises ``TagError`` for a packet without the tag that the key gives it."""
    if not packet.tag:
        raise TagError(f"packet {packet.sequence} has no tag, and {session.device!r} has a key")
    if not hmac.compare_digest(packet.tag, tag_of(packet, session, key)):
        raise TagError(
            f"packet {packet.sequence} has a tag that the key of {session.device!r} does not give "
            "it: it was changed on its way, or the key is another"
        )


def new_key() -> bytes:
    """For one device."""
    return secrets.token_bytes(KEY_BYTES)


def parse_key(text: str, where: str) -> bytes:
    """64 hexadecimal digits. Raises ``ConfigError``, which says nothing of what it read."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{where} holds no packet key: that is {2 * KEY_BYTES} hexadecimal digits"
        )
    return key
