"""The ways to a `Vision`: over the wire or in this process, synchronous or asynchronous."""

from __future__ import annotations

from pathlib import Path

from saccade.bundle import Bundle
from saccade.client.base import AsyncVision, Vision
from saccade.client.in_process import AsyncLocalVision, LocalVision
from saccade.client.installed_halves import EncodeOptions
from saccade.client.packet_encoder import PacketEncoder
from saccade.client.remote import TIMEOUT_S, Link, RemoteVision
from saccade.client.remote_async import AsyncRemoteVision
from saccade.tls import ClientTls

AnyBundle = str | Path | Bundle


def connect(
    cloud: str,
    *,
    bundle: AnyBundle | None = None,
    encode: EncodeOptions | None = None,
    ca: str | Path | None = None,
    cert: str | Path | None = None,
    key: str | Path | None = None,
    api_key: str | None = None,
    insecure: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> Vision:
    """A client of the cloud at ``HOST:PORT``.

    ``bundle``: a path or a name, one of the cloud's bundles (default: the demo's, with a warning).
    It is opened only when a picture is asked about; so is the edge's half.

    ``ca``: a PEM file of the authority that signed the cloud's certificate; ``cert`` and ``key``:
    this client's own, where the cloud asks for one. Without any of them plain text is spoken, to
    this machine only unless ``insecure``. ``api_key``: as ``saccade cloud api-key`` has printed it.
    Raises ``ConfigError``; connects later.
    """
    packet_encoder = PacketEncoder(bundle, encode or EncodeOptions())
    return RemoteVision(
        Link(cloud, ClientTls.of(ca, cert, key), api_key, insecure, timeout_s), packet_encoder
    )


def connect_async(
    cloud: str,
    *,
    bundle: AnyBundle | None = None,
    encode: EncodeOptions | None = None,
    ca: str | Path | None = None,
    cert: str | Path | None = None,
    key: str | Path | None = None,
    api_key: str | None = None,
    insecure: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> AsyncVision:
    """`connect` for asyncio: call it inside the event loop."""
    packet_encoder = PacketEncoder(bundle, encode or EncodeOptions())
    return AsyncRemoteVision(
        Link(cloud, ClientTls.of(ca, cert, key), api_key, insecure, timeout_s), packet_encoder
    )


def local(bundle: AnyBundle | None = None, *, encode: EncodeOptions | None = None) -> Vision:
    """Both halves in this process; needs ``pip install 'saccade-vlm[edge,cloud]'``."""
    return LocalVision(PacketEncoder(bundle, encode or EncodeOptions()))


def local_async(
    bundle: AnyBundle | None = None, *, encode: EncodeOptions | None = None
) -> AsyncVision:
    """`local` for asyncio."""
    return AsyncLocalVision(PacketEncoder(bundle, encode or EncodeOptions()))
