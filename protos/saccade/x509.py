"""From when until when a certificate is valid: the one thing that the ``ssl`` module does not say
about a certificate that it has refused.

Reads DER (X.690) as far as the field ``validity`` of RFC 5280, section 4.1, and no further; what a
certificate is worth, TLS decides.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime, timezone

from saccade.errors import ConfigError

_SEQUENCE, _INTEGER, _VERSION, _UTC_TIME, _GENERAL_TIME = 0x30, 0x02, 0xA0, 0x17, 0x18
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Validity:
    """Both in UTC."""

    not_before: datetime
    not_after: datetime


def validity_of_pem(text: str) -> Validity:
    """Of the first certificate of a PEM text: the holder's own, where a chain follows it.

    Raises ``ConfigError``.
    """
    begin = text.find(_BEGIN)
    end = text.find(_END, begin)
    if begin < 0 or end < 0:
        raise ConfigError("no certificate in PEM form")
    try:
        der = ssl.PEM_cert_to_DER_cert(text[begin : end + len(_END)])
    except ValueError as error:
        raise ConfigError(f"no certificate in PEM form: {error}") from error
    return validity_of_der(der)


def validity_of_der(der: bytes) -> Validity:
    """Of one certificate. Raises ``ConfigError``."""
    try:
        certificate, _ = _element(der, 0, _SEQUENCE)
        body, _ = _element(certificate, 0, _SEQUENCE)
        at = _element(body, 0, _VERSION)[1] if body[:1] == bytes([_VERSION]) else 0
        for tag in (_INTEGER, _SEQUENCE, _SEQUENCE):  # serial number, algorithm, issuer
            at = _element(body, at, tag)[1]
        times, _ = _element(body, at, _SEQUENCE)
        not_before, at = _time(times, 0)
        not_after, _ = _time(times, at)
    except ValueError as error:
        raise ConfigError(f"a certificate that cannot be read: {error}") from error
    return Validity(not_before, not_after)


def _element(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """The content of the element at ``at``, and where the next one begins."""
    if at + 2 > len(data) or data[at] != tag:
        raise ValueError(f"no element 0x{tag:02x} at byte {at}")
    length, start = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[start : start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError(f"an element of {length} bytes at byte {at} of {len(data)}")
    return data[start : start + length], start + length


def _time(data: bytes, at: int) -> tuple[datetime, int]:
    tag = data[at] if at < len(data) else 0
    if tag not in (_UTC_TIME, _GENERAL_TIME):
        raise ValueError(f"no time at byte {at}")
    content, following = _element(data, at, tag)
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # two digits of a year from 1950 to 2049 (RFC 5280, section 4.1.2.5.1)
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc), following
