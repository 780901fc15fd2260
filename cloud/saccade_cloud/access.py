"""Who may call what, decided by a call's headers alone.

- Health is open: who watches a cloud needs no secret, and it says nothing else.
- ``Vision.Connect`` is for devices: `saccade_cloud.peer_identity` decides, by certificate. The
  address for applications has none of them.
- Everything else, reflection and what is added later included, is for applications: they show an
  API key. A cloud that knows devices by certificate but has no keys serves no application; only
  one that has neither, on its own machine or by ``--insecure``, is open to all.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from enum import Enum

from saccade.errors import Forbidden, Unauthenticated
from saccade_cloud.api_keys import ApiKeys

# Who asked what, by the API key's name.
log = logging.getLogger("saccade.access")

CONNECT = "/saccade.v1.Vision/Connect"
HEALTH = "/grpc.health.v1.Health/"


# Who has the call that is served in this task: see ``caller``.
CALLER: ContextVar[str] = ContextVar("CALLER", default="")


def caller() -> str:
    """The application whose call is served: each has a share of the engine."""
    return CALLER.get()


class Kind(Enum):
    """Whose call it is. Each kind has places of its own: see `saccade_cloud.admission`."""

    DEVICE = "device"
    HEALTH = "health"
    APPLICATION = "application"


class Access:
    """``api_keys`` None: this cloud has none. ``certified``: it knows devices by certificate.
    ``devices``: whether they are served at this address.
    """

    def __init__(self, api_keys: ApiKeys | None, *, certified: bool, devices: bool = True) -> None:
        self._api_keys = api_keys
        self._certified = certified
        self.devices = devices

    def check(self, method: str, metadata: Mapping[str, str | bytes]) -> tuple[Kind, str]:
        """The kind of a call, and the API key's name, "" without one.

        Raises ``Unauthenticated`` or ``Forbidden``.
        """
        if method.startswith(HEALTH):
            return Kind.HEALTH, ""
        if method == CONNECT:
            if not self.devices:
                raise Unauthenticated(
                    "edges show a certificate to this cloud, at the address that asks for one; "
                    "an API key is for applications"
                )
            return Kind.DEVICE, ""
        return Kind.APPLICATION, self._application(method, metadata)

    def _application(self, method: str, metadata: Mapping[str, str | bytes]) -> str:
        if self._api_keys is None:
            if self._certified:
                raise Forbidden("this cloud has no API keys, and so serves no applications")
            return ""
        header = metadata.get("authorization")
        scheme, _, api_key = header.partition(" ") if isinstance(header, str) else ("", "", "")
        if scheme.lower() != "bearer":
            raise Unauthenticated("this cloud asks applications for an API key, and none was given")
        name = self._api_keys.name_of(api_key.strip())
        if name is None:
            raise Unauthenticated("the API key is not one of this cloud's")
        log.info("%s calls %s", name, method)
        return name
