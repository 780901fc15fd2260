"""Which device is at the other end: what its certificate says, not what it says itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from saccade.errors import Forbidden, Unauthenticated
from saccade.x509 import validity_of_pem

# A SPIFFE ID (SPIFFE-ID standard, section 2) whose path names a device.
_DEVICE = re.compile(r"spiffe://[a-z0-9._-]+/device/([^/]+)")
# The parts of a subject as RFC 2253 writes it: commas and pluses in a value have a backslash.
_PARTS = re.compile(rb"(?:\\.|[^,+\\])+")

Properties = Mapping[str, Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who TLS has proved to be there. ``device`` None: nobody in particular, ``why`` says why not.

    ``expires_s``: Unix time of the certificate's end, None without one.
    """

    device: str | None = None
    certified: bool = False
    expires_s: float | None = None
    why: str = ""

    @classmethod
    def of(cls, properties: Properties) -> Peer:
        """From a call's ``auth_context()``.

        A certificate with URIs has exactly one, a SPIFFE ID that names the device; the common name
        counts only where there is no URI at all, and only if there is one. All is taken letter by
        letter: ``*`` and ``%2F`` stand for themselves. DNS names, addresses and e-mail addresses
        name no device.
        """
        pem = b"".join(properties.get("x509_pem_cert", ()))
        if not pem:
            return cls()
        device, why = _device(properties)
        valid = validity_of_pem(pem.decode("ascii", "replace"))
        return cls(device, True, valid.not_after.timestamp(), why)

    def check(self, device: str) -> None:
        """May this peer speak for ``device``? Raises ``Unauthenticated`` or ``Forbidden``."""
        if not self.certified:
            raise Unauthenticated(
                "edges show a certificate to this cloud, at the address that asks for one; "
                "a token is for applications"
            )
        if self.device is None:
            raise Forbidden(f"the certificate names no device: {self.why}")
        if self.device != device:
            raise Forbidden(
                f"the certificate is for device {self.device!r}, the hello says {device!r}"
            )

    def lasts_s(self) -> float | None:
        """Seconds until the certificate ends."""
        return None if self.expires_s is None else max(self.expires_s - time.time(), 0.0)


def _device(properties: Properties) -> tuple[str | None, str]:
    """The device that a certificate names, or None and why it names none."""
    uris = [_shown(uri) for uri in properties.get("peer_uri", ())]
    if len(uris) > 1:
        return None, f"it has {len(uris)} URIs and may have one: {', '.join(uris)}"
    if uris:
        match = _DEVICE.fullmatch(uris[0])
        if match is None:
            return None, f"its URI is {uris[0]}, expected spiffe://TRUST-DOMAIN/device/ID"
        return match[1], ""
    return _common_name(properties)


def _common_name(properties: Properties) -> tuple[str | None, str]:
    subject = b"".join(properties.get("x509_subject", ()))
    names = sum(part.startswith(b"CN=") for part in _PARTS.findall(subject))
    if names > 1:
        return None, f"it has no URI, and {names} common names: {_shown(subject)}"
    for name in properties.get("x509_common_name", ()):
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            return None, f"its common name is no UTF-8: {_shown(name)}"
        if not text.isprintable():
            return None, f"its common name is not printable: {_shown(name)}"
        if text:
            return text, ""
    return None, "neither spiffe://TRUST-DOMAIN/device/ID nor CN"


def _shown(value: bytes) -> str:
    """For comparing and for messages: other bytes than printable ASCII as escapes."""
    return value.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")
