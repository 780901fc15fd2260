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

Properties = Mapping[str, Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Peer:
    """Who TLS has proved to be there. ``device`` None: nobody in particular.

    ``expires_s``: Unix time of the certificate's end, None without one.
    """

    device: str | None = None
    certified: bool = False
    expires_s: float | None = None

    @classmethod
    def of(cls, properties: Properties) -> Peer:
        """From a call's ``auth_context()``.

        A SPIFFE URI names the device; the common name does where there is no such URI. A URI of
        another kind (``.../server/...``) names no device, whatever the common name is.
        """
        pem = _text(properties, "x509_pem_cert")
        if pem is None:
            return cls()
        uri = _text(properties, "peer_spiffe_id")
        if uri is None:
            device = _text(properties, "x509_common_name")
        else:
            match = _DEVICE.fullmatch(uri)
            device = match[1] if match else None
        return cls(device or None, True, validity_of_pem(pem).not_after.timestamp())

    def check(self, device: str) -> None:
        """May this peer speak for ``device``? Raises ``Unauthenticated`` or ``Forbidden``."""
        if not self.certified:
            raise Unauthenticated(
                "edges show a certificate to this cloud, at the address that asks for one; "
                "a token is for applications"
            )
        if self.device is None:
            raise Forbidden(
                "the certificate names no device: neither spiffe://.../device/ID nor CN"
            )
        if self.device != device:
            raise Forbidden(
                f"the certificate is for device {self.device!r}, the hello says {device!r}"
            )

    def lasts_s(self) -> float | None:
        """Seconds until the certificate ends."""
        return None if self.expires_s is None else max(self.expires_s - time.time(), 0.0)


def _text(properties: Properties, name: str) -> str | None:
    """The first value of a property; more than one SPIFFE ID gRPC does not pass on."""
    for value in properties.get(name, ()):
        return value.decode("utf-8", "replace")
    return None
