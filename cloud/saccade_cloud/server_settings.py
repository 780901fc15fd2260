"""How a cloud serves: addresses, bounds and times, each with its reason."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from saccade.errors import ConfigError
from saccade_cloud.quotas import Quota
from saccade_cloud.server_tls import ServerTls


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """``HOST:PORT`` or ``[IPV6]:PORT``. Raises ``ConfigError``."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isdecimal() and int(port) < 65536):
            raise ConfigError(f"{text!r} is not an address: give HOST:PORT with a port below 65536")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def check_free(self) -> None:
        """Raises ``ConfigError`` with the system's reason when nobody can listen here.

        gRPC itself says only that it failed, and logs the reason past us.
        """
        try:
            family, kind, _, _, place = socket.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
                probe.listen(1)  # two sockets may be bound to one address, but only one listens
        except OSError as error:
            raise ConfigError(f"cannot listen on {self}: {error.strerror or error}") from error

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Bounds and times of a server; the bundle's limits are not here."""

    address: Address = Address("127.0.0.1", 7860)
    insecure: bool = False  # plain text beyond loopback: tokens are personal data
    tls: ServerTls | None = None
    apps: Address | None = None  # where applications need no certificate, only their API key
    api_keys: Path | None = None  # see saccade_cloud.api_keys
    quota: Quota = field(default_factory=Quota)
    streams: int = 4096  # of all devices
    application_calls: int = 1024  # at once, of all applications
    calls_of_one_application: int = 256
    watches_of_one_application: int = 128  # of these calls
    health_watches: int = 64
    health_watch_s: float = 60.0  # how long one lasts
    silent_calls: int = 512  # whose first message has not come, at each address
    device_connections: int = 16_384  # at --listen: at least one for each stream
    application_connections: int = 2048  # at --apps
    max_cameras: int = 2048  # of all devices
    frame_bytes: int = 64 << 20  # of all frames at hand, as packets, about
    device_frame_bytes: int = 8 << 20  # of one device's: some 3,500 frames of the demo
    decoded_bytes: int = 256 << 20  # of all frames, decoded or projected
    device_decoded_bytes: int = 64 << 20  # of one device's: a view of 576 x 4096 floats takes 9 MB
    hello_timeout_s: float = 10.0  # for the first message of any call
    answer_timeout_s: float = 60.0  # of one answer, from question to last chunk
    answer_wait_s: float = 1.0  # for the engine; beyond it edges are bounded, 0: never
    stalled_timeout_s: float = 60.0  # how long a peer may leave its messages unread
    store_timeout_s: float = 5.0  # a packet that is not durable by then is not acknowledged
    drain_s: float = 10.0  # for running answers, once the server stops

    @property
    def certified(self) -> bool:
        """Whether devices are known by their certificates."""
        return self.tls is not None and self.tls.client_ca is not None

    def check(self) -> None:
        """Raises ``ConfigError`` for addresses that would be served to more than they should."""
        if self.tls is not None:
            self.tls.check()
        if self.apps is not None and not (self.certified and self.api_keys):
            raise ConfigError(
                f"an address for applications ({self.apps}) needs --tls-cert, --tls-key, "
                "--tls-client-ca and --api-keys: without them it would be open to all"
            )
        if self.insecure or self.address.is_loopback:
            return
        if self.tls is None:
            raise ConfigError(
                f"{self.address} can be reached from other machines and this server has no TLS: "
                "give --tls-cert, --tls-key and --tls-client-ca, listen on 127.0.0.1, or accept "
                "plain text with --insecure"
            )
        if not self.certified:
            raise ConfigError(
                f"{self.address} can be reached from other machines and would take anyone for a "
                "device: give --tls-client-ca, or accept it with --insecure"
            )

    @property
    def risk(self) -> str:
        """What ``insecure`` opens to others, for the log; empty where it opens nothing."""
        if self.address.is_loopback or self.certified:
            return ""
        if self.tls is None:
            return f"plain text on {self.address}: whoever is on the way can read and change it"
        return f"{self.address} takes anyone for a device: no --tls-client-ca is set"


CALLS_OF_ONE_CONNECTION = 128
HANDSHAKE_MS = 10_000
IDLE_MS = 300_000


# NAT boxes forget idle connections after a few minutes, the strictest after one: an edge may
# ping every 10 s, and the server finds a vanished edge within 40 s.
def channel_options(message_bytes: int, connections: int = 16_384) -> list[tuple[str, int]]:
    """Options of gRPC for a server whose messages have at most ``message_bytes``, and which has
    at most ``connections`` at once: further ones are closed at once.
    """
    return [
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, whatever the line above says
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # also an edge that has nothing to say
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        # Without it a second server takes the same port in silence and half the connections.
        ("grpc.so_reuseport", 0),
        # An edge has one call on its connection, an application as many as it has threads.
        ("grpc.max_concurrent_streams", CALLS_OF_ONE_CONNECTION),
        # Half a handshake, or a connection without calls, holds a socket: not for long. There is
        # no bound on a connection's age, since an edge's one stream lasts for days.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        # Bandwidth probing lets a writer run megabytes ahead of a slow reader.
        ("grpc.http2.bdp_probe", 0),
    ]
